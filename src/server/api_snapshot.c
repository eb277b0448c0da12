/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots and forks (protocol.md 2.2). Both hold files, no processes. */
#include <errno.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/admission.h"
#include "server/api.h"
#include "server/event.h"
#include "server/field.h"
#include "server/network.h"
#include "server/sandbox_list.h"
#include "server/sandbox_record.h"
#include "server/server.h"
#include "server/snapshot.h"

enum { FORK_TIMEOUT = 15, FORKS_MAX = 100, PAGE_MAX = 100 };

/* The sandbox that is to be copied; NULL: answered. */
static struct sandbox *find_running(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, false);
    if (!sb || sb->state == SANDBOX_RUNNING)
        return sb;
    api_reply_error(r, 409, "Sandbox \"%s\" is not running", sb->id);
    return NULL;
}

/* ---- snapshots ---- */

/* The name that is asked for. False: answered. */
static bool read_name(struct api_request *r, struct template_reference *ret)
{
    const char *name = NULL;
    struct template template;
    struct err err;
    *ret = (struct template_reference){0};
    int rc = field_string(r->body, "name", &name, &err);
    if (rc > 0)
        rc = template_split_reference(str_from(name), ret, &err);
    if (rc == 0 && *ret->space && !str_ieqz(str_from(r->project), ret->space))
        rc = err_set(&err, ERR_DENIED, 0, "\"name\": '%s' is not your project", ret->space);
    if (rc == 0 && *ret->name &&
        template_load(r->server->config->templates, ret->name, &template, NULL) == 0) {
        template_done(&template);
        rc = err_set(&err, ERR_EXISTS, 0, "\"name\": there is a template '%s'", ret->name);
    }
    if (rc < 0)
        api_reply_err(r, &err);
    return rc >= 0;
}

static void tell_taken(struct api_request *r, const struct snapshot *snapshot)
{
    struct sandbox *sb = sandbox_list_find(r->server->sandboxes, snapshot->sandbox);
    if (sb)
        event_add(sb, EVENT_INFO, "snapshot taken", "snapshot", snapshot->id, NULL);
    api_reply_json(r, 201, snapshot_json(snapshot));
}

static void on_taken(struct snapshot *snapshot, const struct err *err, void *arg)
{
    struct api_request *r = arg;
    struct template_reference name;
    struct err failure;
    r->taking = false;
    if (err) {
        api_reply_launcher_err(r, err);
        return;
    }
    if (!read_name(r, &name)) { /* a template has got the name meanwhile */
        snapshot_drop(r->server->snapshots, snapshot, NULL);
        return;
    }
    if (snapshot_publish(r->server->snapshots, snapshot, name.name,
                         *name.tag ? name.tag : "default", &failure) < 0)
        api_reply_launcher_err(r, &failure);
    else
        tell_taken(r, snapshot);
}

void api_snapshot_create(struct api_request *r)
{
    struct sandbox *sb = find_running(r);
    struct template_reference name;
    struct err err;
    bool memory = false;
    if (!sb || !read_name(r, &name))
        return;
    if (field_bool(r->body, "memory", &memory, &err) < 0) {
        api_reply_err(r, &err);
    } else if (memory) {
        api_reply_error(r, 501, "\"memory\": true: a snapshot holds files only; leave it out");
    } else {
        r->taking = true;
        snapshot_take(sb, on_taken, r);
    }
}

static int newest_first(const void *a, const void *b)
{
    const struct snapshot *const *x = a, *const *y = b;
    if ((*x)->created != (*y)->created)
        return (*x)->created > (*y)->created ? -1 : 1;
    return -strcmp((*x)->id, (*y)->id);
}

struct page {
    struct buf sandbox, name, token;
    int64_t limit;
    struct template_reference reference;
    bool by_name;
};

static bool wanted(const struct api_request *r, const struct page *page, const struct snapshot *s)
{
    if (s->hidden || strcmp(s->project, r->project) != 0)
        return false;
    if (buf_len(&page->sandbox) > 0 && !str_eqz(buf_str(&page->sandbox), s->sandbox))
        return false;
    if (!page->by_name)
        return true;
    const struct template_reference *want = &page->reference;
    return (strcmp(want->name, s->name) == 0 || strcmp(want->name, s->id) == 0) &&
           (!*want->tag || strcmp(want->tag, s->tag) == 0);
}

/* The token is the last id of the page before; it is looked for in what there is now. */
static bool read_page(struct api_request *r, struct page *page)
{
    struct err err;
    page->limit = PAGE_MAX;
    if (api_query_text(r, "sandboxID", &page->sandbox) < 0)
        return false;
    int named = api_query_text(r, "name", &page->name);
    if (named < 0 || api_query_integer(r, "limit", 1, PAGE_MAX, &page->limit) < 0 ||
        api_query_text(r, "nextToken", &page->token) < 0)
        return false;
    page->by_name = named > 0 && buf_len(&page->name) > 0;
    if (page->by_name && template_split_reference(buf_str(&page->name), &page->reference, &err) < 0) {
        api_reply_err(r, &err);
        return false;
    }
    return true;
}

/* "<created>_<id>" of the last of the page before. */
static int parse_token(struct str token, struct snapshot *ret)
{
    struct str created;
    str_split(&token, '_', &created);
    if (str_to_i64(created, 0, INT64_MAX, &ret->created) < 0 || !token.p ||
        token.len > ROUTE_ID_MAX)
        return -EINVAL;
    memcpy(ret->id, token.p, token.len);
    return 0;
}

static void reply_page(struct api_request *r, const struct page *page)
{
    struct snapshot after = {0}, *last = &after, *s;
    size_t count = 0, all = 0;
    bool from_token = buf_len(&page->token) > 0;
    if (from_token && parse_token(buf_str(&page->token), &after) < 0) {
        api_reply_error(r, 400, "Invalid next token");
        return;
    }
    for (s = snapshot_first(r->server->snapshots); s; s = LIST_NEXT(s, link))
        all++;
    _cleanup_free_ struct snapshot **found = xcalloc(all + 1, sizeof *found);
    for (s = snapshot_first(r->server->snapshots); s; s = LIST_NEXT(s, link))
        if (wanted(r, page, s) && (!from_token || newest_first(&s, &last) > 0))
            found[count++] = s;
    qsort(found, count, sizeof *found, newest_first);
    size_t n = count < (size_t)page->limit ? count : (size_t)page->limit;
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(array, snapshot_json(found[i]));
    if (n < count)
        http_respond_headerf(r->x, "X-Next-Token", "%lld_%s", (long long)found[n - 1]->created,
                             found[n - 1]->id);
    api_reply_json(r, 200, array);
}

void api_snapshot_list(struct api_request *r)
{
    struct page page = {0};
    buf_init(&page.sandbox, HTTP_HEAD_BYTES_MAX);
    buf_init(&page.name, HTTP_HEAD_BYTES_MAX);
    buf_init(&page.token, HTTP_HEAD_BYTES_MAX);
    if (read_page(r, &page))
        reply_page(r, &page);
    buf_done(&page.sandbox);
    buf_done(&page.name);
    buf_done(&page.token);
}

/* DELETE /templates/{}: of the two kinds of things that have these names, snapshots only. */
void api_snapshot_delete(struct api_request *r)
{
    struct template_reference reference;
    struct template template;
    struct err err;
    if (template_split_reference(str_from(r->params[0]), &reference, &err) < 0) {
        api_reply_err(r, &err);
        return;
    }
    struct snapshot *snapshot = snapshot_find(r->server->snapshots, r->project, &reference);
    if (snapshot && snapshot_drop(r->server->snapshots, snapshot, &err) < 0) {
        api_reply_err(r, &err);
    } else if (snapshot) {
        api_reply_empty(r, 204);
    } else if (template_load(r->server->config->templates, reference.name, &template, NULL) == 0) {
        template_done(&template);
        api_reply_error(r, 403, "template '%s' belongs to the host", reference.name);
    } else {
        api_reply_error(r, 404, "there is no template or snapshot '%s'", reference.name);
    }
}

/* ---- forks ---- */

struct fork_item {
    struct sandbox_wait wait;
    struct api_fork *fork;
    json_t *result; /* NULL: not settled yet */
};

struct api_fork {
    struct api_request *r;
    struct snapshot *snapshot;
    int64_t timeout;
    size_t count, settled;
    bool starting; /* what settles now is not the last */
    struct fork_item items[];
};

static json_t *failure(const struct err *err)
{
    int status = err_http_status(err->code);
    if (status == 429 || status == 504 || status == 507)
        status = 503;
    return json_pack("{s:{s:i, s:s}}", "error", "code", status, "message", err->message);
}

static void fork_free(struct api_fork *fork)
{
    for (size_t i = 0; i < fork->count; i++) {
        sandbox_wait_cancel(&fork->items[i].wait); /* one that nobody waits for is not kept */
        json_decref(fork->items[i].result);
    }
    /* Who has been made from it keeps the files. */
    if (fork->snapshot)
        snapshot_drop(fork->r->server->snapshots, fork->snapshot, NULL);
    fork->r->fork = NULL;
    free(fork);
}

void api_fork_forget(struct api_request *r)
{
    if (r->taking)
        snapshot_take_forget(r->server->snapshots, r);
    if (r->fork)
        fork_free(r->fork);
}

static void settled(struct api_fork *fork)
{
    if (fork->starting || fork->settled < fork->count)
        return;
    json_t *results = json_array();
    struct api_request *r = fork->r;
    for (size_t i = 0; i < fork->count; i++)
        json_array_append(results, fork->items[i].result);
    fork_free(fork);
    api_reply_json(r, 201, results);
}

static void on_created(struct sandbox_wait *wait, struct sandbox *sb, const struct err *err)
{
    struct fork_item *item = CONTAINER_OF(wait, struct fork_item, wait);
    item->result =
        err ? failure(err) : json_pack("{s:o}", "sandbox", sandbox_record_created(sb));
    item->fork->settled++;
    settled(item->fork);
}

/* What the parent was asked for holds for its children; ids and tokens are their own. */
static void inherit(struct sandbox *sb, const struct sandbox *parent, const struct api_fork *fork)
{
    memcpy(sb->project, parent->project, sizeof sb->project);
    memcpy(sb->template_name, parent->template_name, sizeof sb->template_name);
    memcpy(sb->base, fork->snapshot->id, sizeof sb->base);
    memcpy(sb->shown, parent->shown, sizeof sb->shown);
    memcpy(sb->alias, parent->alias, sizeof sb->alias);
    sb->limits = parent->limits;
    sb->allow_internet = parent->allow_internet;
    sb->auto_pause = parent->auto_pause;
    sb->auto_pause_memory = parent->auto_pause_memory;
    sb->auto_resume = parent->auto_resume;
    sb->timeout = fork->timeout;
    sb->metadata = json_deep_copy(parent->metadata);
    sb->env_vars = parent->env_vars ? json_incref(parent->env_vars) : NULL;
    if (parent->network)
        sandbox_record_set_network(sb, json_deep_copy(parent->network));
    if (*parent->envd_token)
        token_new(sb->envd_token);
    if (*parent->traffic_token)
        token_new(sb->traffic_token);
}

static void make_one(struct api_fork *fork, size_t i, const struct sandbox *parent,
                     const struct template *template, const struct network *network)
{
    struct fork_item *item = &fork->items[i];
    struct server *server = fork->r->server;
    struct err err;
    const char *cause;
    item->fork = fork;
    if (admission_check(server, parent->project, &cause, &err) < 0) {
        server->stats.refused_room++;
        item->result = failure(&err);
        fork->settled++;
        return;
    }
    struct sandbox *sb = sandbox_new(server);
    inherit(sb, parent, fork);
    _cleanup_free_ char *config = sandbox_record_agent_config(sb, template, sb->env_vars);
    sandbox_wait(sb, &item->wait, on_created);
    sandbox_start(sb, network, str_from(config ? config : "{}"));
}

static int make_all(struct api_fork *fork, const struct sandbox *parent, struct err *err)
{
    _cleanup_free_ struct network *network = xmalloc(sizeof *network);
    struct template template;
    int rc = network_from_json(parent->network, "network.", parent->allow_internet, network, err);
    if (rc == 0)
        rc = template_load(fork->r->server->config->templates, parent->template_name, &template,
                           err);
    if (rc < 0)
        return rc;
    fork->starting = true;
    for (size_t i = 0; i < fork->count; i++)
        make_one(fork, i, parent, &template, network);
    fork->starting = false;
    template_done(&template);
    return 0;
}

static void on_forked(struct snapshot *snapshot, const struct err *err, void *arg)
{
    struct api_request *r = arg;
    struct api_fork *fork = r->fork;
    struct err failed;
    r->taking = false;
    if (err) {
        fork_free(fork);
        api_reply_launcher_err(r, err);
        return;
    }
    fork->snapshot = snapshot;
    struct sandbox *parent = sandbox_list_find(r->server->sandboxes, snapshot->sandbox);
    int rc = parent ? make_all(fork, parent, &failed)
                    : err_set(&failed, ERR_NOT_FOUND, 0, "the sandbox ended while it was forked");
    if (rc < 0) {
        fork_free(fork);
        api_reply_launcher_err(r, &failed);
    } else {
        settled(fork); /* there may have been room for none */
    }
}

void api_sandbox_fork(struct api_request *r)
{
    struct sandbox *sb = find_running(r);
    int64_t timeout = FORK_TIMEOUT, count = 1;
    struct err err;
    if (!sb)
        return;
    if (field_integer(r->body, "timeout", 1, (int64_t)r->server->config->max_timeout, &timeout,
                      &err) < 0 ||
        field_integer(r->body, "count", 1, FORKS_MAX, &count, &err) < 0) {
        api_reply_err(r, &err);
        return;
    }
    if (r->server->stopping) {
        api_reply_error(r, 503, "the server is stopping");
        return;
    }
    struct api_fork *fork = xcalloc(1, sizeof *fork + (size_t)count * sizeof fork->items[0]);
    fork->r = r;
    fork->timeout = timeout;
    fork->count = (size_t)count;
    r->fork = fork;
    r->taking = true;
    snapshot_take(sb, on_forked, r);
}
