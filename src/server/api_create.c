/* SPDX-License-Identifier: Apache-2.0 */
/* POST /sandboxes and POST /v2/sandboxes (protocol.md 2.2, 2.4, 12). What is asked for and cannot be
 * given is refused by name, never left out in silence. */
#include "server/api.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/admission.h"
#include "server/field.h"
#include "server/network.h"
#include "server/pool.h"
#include "server/sandbox_list.h"
#include "server/sandbox_record.h"
#include "server/server.h"
#include "server/snapshot.h"

enum {
    TIMEOUT_V1 = 15,
    TIMEOUT_V2 = 300,
    ROOM_RETRY_S = 5,
    METADATA_MAX = 64 * 1024, /* bytes as JSON: a page of a listing holds 100 of them */
    MASK_HOST_MAX = 255,
    CREATION_KEY_MAX = 255,
};

/* The request as read, before a sandbox is made of it. JSON is borrowed from the body. */
struct order {
    char template_name[TEMPLATE_NAME_MAX + 1];
    const struct snapshot *snapshot; /* NULL: it begins as its template */
    int64_t timeout;
    bool secure;
    bool auto_pause;
    bool auto_pause_memory;
    bool auto_resume;
    bool allow_internet;
    bool public_traffic;
    const char *creation_key; /* NULL: none */
    json_t *metadata;
    json_t *env_vars;
    json_t *network;
    struct network egress;
};

static int not_implemented(struct err *err, const char *what)
{
    return err_set(err, ERR_UNIMPLEMENTED, 0, "%s is not implemented by this server", what);
}

static bool has_members(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_object_size(value) > 0 || json_array_size(value) > 0;
}

/* ---- network ---- */

static int check_mask_host(const json_t *network, struct err *err)
{
    const char *mask = NULL;
    int rc = field_string(network, "maskRequestHost", &mask, err);
    if (rc <= 0)
        return rc;
    bool ok = *mask && strlen(mask) <= MASK_HOST_MAX;
    for (const char *c = mask; *c; c++)
        ok = ok && *c > ' ' && *c < 0x7f;
    if (!ok)
        return err_set(err, ERR_INVALID, 0,
                       "\"network.maskRequestHost\" must be a host name in ASCII");
    return 0;
}

static int read_network(struct order *order, struct err *err)
{
    const json_t *network = order->network;
    int rc;
    if ((rc = field_bool(network, "allowPublicTraffic", &order->public_traffic, err)) < 0 ||
        (rc = check_mask_host(network, err)) < 0)
        return rc;
    if (!order->public_traffic && !order->secure)
        return err_set(err, ERR_INVALID, 0,
                       "\"network.allowPublicTraffic\": false needs \"secure\": true");
    return 0;
}

/* ---- the rest of the body ---- */

static int check_env_vars(json_t *env_vars, struct err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach (env_vars, name, value) {
        if (*name == '\0' || strchr(name, '='))
            return err_set(err, ERR_INVALID, 0,
                           "\"envVars\": \"%.64s\" is not a name for a variable", name);
    }
    return 0;
}

static int check_metadata(const json_t *metadata, struct err *err)
{
    if (json_dumpb(metadata, NULL, 0, JSON_COMPACT) > METADATA_MAX)
        return err_set(err, ERR_INVALID, 0, "\"metadata\" must be at most %d bytes", METADATA_MAX);
    return 0;
}

static int read_lifecycle(const json_t *body, struct order *order, struct err *err)
{
    json_t *auto_resume = NULL;
    int rc;
    if ((rc = field_bool(body, "autoPause", &order->auto_pause, err)) < 0 ||
        (rc = field_bool(body, "autoPauseMemory", &order->auto_pause_memory, err)) < 0 ||
        (rc = field_object(body, "autoResume", &auto_resume, err)) < 0 ||
        (rc = field_bool(auto_resume, "enabled", &order->auto_resume, err)) < 0)
        return rc;
    if (order->auto_pause_memory)
        return 0;
    if (!order->auto_pause)
        return err_set(err, ERR_INVALID, 0, "\"autoPauseMemory\" needs \"autoPause\": true");
    if (order->auto_resume)
        return err_set(err, ERR_INVALID, 0,
                       "\"autoPauseMemory\": false cannot be resumed by traffic");
    return 0;
}

/* A template of the host's, or a snapshot of the project's. */
static int read_template(const struct api_request *r, struct order *order, const char *text,
                         struct err *err)
{
    struct template_reference reference;
    int rc = template_split_reference(str_from(text), &reference, err);
    if (rc < 0)
        return rc;
    order->snapshot = snapshot_find(r->server->snapshots, r->project, &reference);
    if (!order->snapshot)
        return template_parse_reference(str_from(text), order->template_name, err);
    memcpy(order->template_name, order->snapshot->template_name, sizeof order->template_name);
    return 0;
}

static int read_body(const struct api_request *r, struct order *order, struct err *err)
{
    const json_t *body = r->body;
    int64_t max_timeout = (int64_t)r->server->config->max_timeout;
    const char *template_id = NULL;
    int rc;
    if ((rc = field_string(body, "templateID", &template_id, err)) < 0)
        return rc;
    if (!template_id)
        return err_set(err, ERR_INVALID, 0, "\"templateID\" is missing");
    if ((rc = read_template(r, order, template_id, err)) < 0 ||
        (rc = field_integer(body, "timeout", 1, max_timeout, &order->timeout, err)) < 0 ||
        (rc = field_bool(body, "allow_internet_access", &order->allow_internet, err)) < 0 ||
        (rc = field_string_map(body, "metadata", &order->metadata, err)) < 0 ||
        (rc = field_string_map(body, "envVars", &order->env_vars, err)) < 0 ||
        (rc = field_object(body, "network", &order->network, err)) < 0 ||
        (rc = read_lifecycle(body, order, err)) < 0)
        return rc;
    if (has_members(json_object_get(body, "iam"), "tokens"))
        return not_implemented(err, "\"iam\"");
    if (has_members(body, "volumeMounts"))
        return not_implemented(err, "\"volumeMounts\"");
    if (order->env_vars && (rc = check_env_vars(order->env_vars, err)) < 0)
        return rc;
    if (order->metadata && (rc = check_metadata(order->metadata, err)) < 0)
        return rc;
    if (order->network && (rc = read_network(order, err)) < 0)
        return rc;
    return network_from_json(order->network, "network.", order->allow_internet, &order->egress,
                             err);
}

/* ---- making it ---- */

/* Those of a snapshot's sandbox hold in what is made from it, unless they are given anew. */
static json_t *env_vars(const struct order *order)
{
    json_t *before = order->snapshot ? order->snapshot->env_vars : NULL;
    if (!before)
        return order->env_vars ? json_incref(order->env_vars) : NULL;
    json_t *all = json_copy(before);
    if (order->env_vars)
        json_object_update(all, order->env_vars);
    return all;
}

static void stand_on(struct sandbox *sb, const struct snapshot *snapshot)
{
    memcpy(sb->base, snapshot->id, sizeof sb->base);
    snprintf(sb->shown, sizeof sb->shown, "%s", snapshot->id);
    memcpy(sb->alias, snapshot->name, sizeof sb->alias);
}

static void fill(struct sandbox *sb, const struct api_request *r, const struct order *order)
{
    memcpy(sb->project, r->project, sizeof sb->project);
    sb->timeout = order->timeout;
    sb->allow_internet = order->allow_internet;
    sb->auto_pause = order->auto_pause;
    sb->auto_pause_memory = order->auto_pause_memory;
    sb->auto_resume = order->auto_resume;
    if (order->creation_key)
        sb->creation_key = xstrdup(order->creation_key);
    sb->metadata = order->metadata ? json_incref(order->metadata) : NULL;
    sb->env_vars = env_vars(order);
    if (order->network)
        sandbox_record_set_network(sb, json_incref(order->network));
    if (order->secure)
        token_new(sb->envd_token);
    if (!order->public_traffic)
        token_new(sb->traffic_token);
}

static struct sandbox *make(struct api_request *r, const struct order *order,
                            const struct template *template)
{
    const struct snapshot *snapshot = order->snapshot;
    struct launcher_limits limits =
        snapshot ? snapshot->limits : sandbox_record_limits(r->server->config, template);
    bool as_all = order->egress.len == 0 && !order->egress.closed && !r->anew && !snapshot;
    struct sandbox *sb = as_all ? pool_take(r->server->pool, template, &limits) : NULL;
    r->pooled = sb != NULL;
    if (!sb) {
        sb = sandbox_new(r->server);
        sandbox_record_set_template(sb, order->template_name);
        sb->limits = limits;
        if (snapshot)
            stand_on(sb, snapshot);
    }
    fill(sb, r, order);
    return sb;
}

static void on_created(struct sandbox_wait *wait, struct sandbox *sb, const struct err *err)
{
    struct api_request *r = CONTAINER_OF(wait, struct api_request, wait);
    struct stats *stats = &r->server->stats;
    if (err && r->pooled && !r->anew) {
        /* It died while it waited, unnoticed. */
        r->anew = true;
        r->route->handler(r);
        return;
    }
    if (err) {
        stats->create_failed++;
        api_reply_launcher_err(r, err);
    } else {
        *(r->pooled ? &stats->created_pooled : &stats->created_new) += 1;
        stats_time(&stats->create_times, clock_mono_ns() - r->began);
        memcpy(r->about, sb->id, sizeof r->about);
        api_reply_json(r, 201, sandbox_record_created(sb));
    }
    turn_end(&r->turn);
}

static void start(struct api_request *r, const struct order *order, const struct template *template)
{
    struct sandbox *sb = make(r, order, template);
    char *config = sandbox_record_agent_config(sb, template, sb->env_vars);
    if (!config || strlen(config) > LAUNCHER_CONFIG_MAX) {
        api_reply_error(r, 400, "\"envVars\" must be at most %d bytes in all", LAUNCHER_CONFIG_MAX);
        if (r->pooled)
            sandbox_kill(sb, "not wanted after all");
        else
            sandbox_free(sb);
    } else {
        sandbox_wait(sb, &r->wait, on_created);
        if (r->pooled)
            sandbox_claim(sb, str_from(config));
        else
            sandbox_start(sb, &order->egress, str_from(config));
    }
    free(config);
}

static bool has_room(struct api_request *r)
{
    struct err err;
    const char *cause;
    if (admission_check(r->server, r->project, &cause, &err) == 0)
        return true;
    r->server->stats.refused_room++;
    api_reply_refused(r, err_http_status(err.code), ROOM_RETRY_S, cause, err.message);
    return false;
}

/* Room may have gone while it waited: it is looked at once more. */
static void on_turn(struct turn *turn)
{
    struct api_request *r = CONTAINER_OF(turn, struct api_request, turn);
    r->has_turn = true;
    r->route->handler(r);
    if (r->status)
        turn_end(turn);
}

static bool my_turn(struct api_request *r)
{
    if (!r->has_turn)
        r->has_turn = turn_take(r->server->turns, &r->turn, r->project, on_turn);
    return r->has_turn;
}

/* ---- asked for again ---- */

/* The header Idempotency-Key, "" without one. False: answered. */
static bool read_creation_key(struct api_request *r, char ret[CREATION_KEY_MAX + 1])
{
    struct str key = http_header_get(&r->head->headers, "Idempotency-Key");
    bool ok = key.len <= CREATION_KEY_MAX;
    for (size_t i = 0; ok && i < key.len; i++)
        ok = (key.p[i] >= 'a' && key.p[i] <= 'z') || (key.p[i] >= '0' && key.p[i] <= '9') ||
             key.p[i] == '-';
    if (!ok) {
        api_reply_error(r, 400,
                        "Idempotency-Key must be 1 to %d lower-case letters, digits and '-'",
                        CREATION_KEY_MAX);
        return false;
    }
    if (key.p)
        memcpy(ret, key.p, key.len);
    ret[key.p ? key.len : 0] = '\0';
    return true;
}

static void on_joined(struct sandbox_wait *wait, struct sandbox *sb, const struct err *err)
{
    struct api_request *r = CONTAINER_OF(wait, struct api_request, wait);
    if (err)
        api_reply_launcher_err(r, err);
    else
        api_reply_json(r, 201, sandbox_record_created(sb));
}

/* A client whose answer got lost asks again: it is given what was made then. False: there is none. */
static bool join(struct api_request *r, const char *key)
{
    struct sandbox *sb;
    for (sb = sandbox_list_first(r->server->sandboxes); sb; sb = sandbox_list_next(sb)) {
        if (!sb->creation_key || strcmp(sb->creation_key, key) != 0 ||
            strcmp(sb->project, r->project) != 0 || sb->state == SANDBOX_KILLING)
            continue;
        if (sb->state == SANDBOX_CREATING)
            sandbox_wait(sb, &r->wait, on_joined);
        else
            api_reply_json(r, 201, sandbox_record_created(sb));
        return true;
    }
    return false;
}

/* ---- all of it ---- */

static void create(struct api_request *r, struct order *order)
{
    struct server *server = r->server;
    struct template template;
    struct err err;
    char key[CREATION_KEY_MAX + 1];
    if (!read_creation_key(r, key) || (*key && join(r, key)))
        return;
    order->creation_key = *key ? key : NULL;
    order->allow_internet = order->public_traffic = order->auto_pause_memory = true;
    if (read_body(r, order, &err) < 0 ||
        template_load(server->config->templates, order->template_name, &template, &err) < 0) {
        api_reply_err(r, &err);
        return;
    }
    if (server->stopping)
        api_reply_error(r, 503, "the server is stopping");
    else if (has_room(r) && my_turn(r))
        start(r, order, &template);
    template_done(&template);
}

void api_sandbox_create_v1(struct api_request *r)
{
    struct order order = {.timeout = TIMEOUT_V1, .secure = true};
    struct err err;
    /* Upstream's default here is false; ours is to be secured unless it is refused in so many
     * words. */
    if (field_bool(r->body, "secure", &order.secure, &err) < 0)
        api_reply_err(r, &err);
    else
        create(r, &order);
}

void api_sandbox_create_v2(struct api_request *r)
{
    struct order order = {.timeout = TIMEOUT_V2, .secure = true};
    create(r, &order);
}
