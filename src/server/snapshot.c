/* SPDX-License-Identifier: Apache-2.0 */
/* The list of snapshots. */
#include "server/snapshot.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "server/field.h"
#include "server/launcher_link.h"
#include "server/sandbox.h"
#include "server/server.h"
#include "server/store.h"

enum { ID_CHARS = 19 }; /* after the "s" */
#define TAKE_TIMEOUT (600 * CLOCK_S)
#define DROP_TIMEOUT (30 * CLOCK_S)

struct take {
    TAILQ_ENTRY(take) link;   /* of its sandbox */
    LIST_ENTRY(take) in_list; /* all that there are */
    struct snapshot_list *list;
    struct sandbox *sandbox; /* NULL: it is gone */
    char id[ROUTE_ID_MAX + 1];
    snapshot_taken_fn *done; /* NULL: forgotten */
    void *arg;
};

struct snapshot_list {
    struct server *server;
    LIST_HEAD(, snapshot) all;
    LIST_HEAD(, take) takes;
};

static void snapshot_free(struct snapshot *snapshot)
{
    LIST_REMOVE(snapshot, link);
    json_decref(snapshot->env_vars);
    free(snapshot);
}

static void take_free(struct take *take)
{
    LIST_REMOVE(take, in_list);
    free(take);
}

struct snapshot_list *snapshot_list_new(struct server *server)
{
    struct snapshot_list *list = xcalloc(1, sizeof *list);
    list->server = server;
    LIST_INIT(&list->all);
    LIST_INIT(&list->takes);
    return list;
}

void snapshot_list_free(struct snapshot_list *list)
{
    while (!LIST_EMPTY(&list->all))
        snapshot_free(LIST_FIRST(&list->all));
    while (!LIST_EMPTY(&list->takes))
        take_free(LIST_FIRST(&list->takes));
    free(list);
}

struct snapshot *snapshot_first(const struct snapshot_list *list)
{
    return LIST_FIRST(&list->all);
}

static struct snapshot *find_id(const struct snapshot_list *list, const char *id)
{
    struct snapshot *s;
    LIST_FOREACH(s, &list->all, link)
    if (strcmp(s->id, id) == 0)
        return s;
    return NULL;
}

static struct snapshot *find_name(const struct snapshot_list *list, const char *project,
                                  const char *name, const char *tag)
{
    struct snapshot *s;
    LIST_FOREACH(s, &list->all, link)
    if (!s->hidden && *s->name && strcmp(s->project, project) == 0 && strcmp(s->name, name) == 0 &&
        strcmp(s->tag, tag) == 0)
        return s;
    return NULL;
}

struct snapshot *snapshot_find(const struct snapshot_list *list, const char *project,
                               const struct template_reference *reference)
{
    const char *tag = *reference->tag ? reference->tag : "default";
    struct snapshot *s = find_id(list, reference->name);
    if (s && !*reference->space && !s->hidden && strcmp(s->project, project) == 0 &&
        strcmp(tag, "default") == 0)
        return s;
    /* Projects may be written with capitals, references are lower-cased. */
    if (*reference->space && !str_ieqz(str_from(project), reference->space))
        return NULL;
    return find_name(list, project, reference->name, tag);
}

json_t *snapshot_json(const struct snapshot *s)
{
    char full[3 * TEMPLATE_NAME_MAX + 4];
    if (!*s->name) {
        snprintf(full, sizeof full, "%s:default", s->id);
        return json_pack("{s:s, s:[]}", "snapshotID", full, "names");
    }
    snprintf(full, sizeof full, "%s/%s:%s", s->project, s->name, s->tag);
    return json_pack("{s:s, s:[s]}", "snapshotID", full, "names", full);
}

/* ---- dropping ---- */

static void on_dropped(const struct launcher_reply *reply, void *arg)
{
    (void)arg;
    /* Not followed up: the next reconciliation finds it again. */
    if (reply->code != ERR_OK)
        log_error("snapshot not dropped", "id=%s error=\"%s\"", reply->id, reply->message);
}

static void drop_files(struct snapshot_list *list, const char *id)
{
    struct launcher_request request = {.op = LAUNCHER_DROP};
    snprintf(request.id, sizeof request.id, "%s", id);
    launcher_link_call(list->server->link, &request, STR(""), DROP_TIMEOUT, on_dropped, list);
}

int snapshot_drop(struct snapshot_list *list, struct snapshot *snapshot, struct err *err)
{
    int rc = snapshot->hidden ? 0 : store_delete_snapshot(list->server->store, snapshot->id, err);
    if (rc < 0)
        return rc;
    if (!snapshot->hidden)
        log_info("snapshot deleted", "id=%s", snapshot->id);
    drop_files(list, snapshot->id);
    snapshot_free(snapshot);
    return 0;
}

/* ---- taking ---- */

static void start_take(struct take *take);

static struct snapshot *add_taken(struct take *take)
{
    struct snapshot *s = xcalloc(1, sizeof *s);
    struct sandbox *sb = take->sandbox;
    memcpy(s->id, take->id, sizeof s->id);
    memcpy(s->project, sb->project, sizeof s->project);
    memcpy(s->sandbox, sb->id, sizeof s->sandbox);
    memcpy(s->template_name, sb->template_name, sizeof s->template_name);
    s->limits = sb->limits;
    s->env_vars = sb->env_vars ? json_incref(sb->env_vars) : NULL;
    s->created = clock_wall_ns();
    s->hidden = s->confirmed = true;
    LIST_INSERT_HEAD(&take->list->all, s, link);
    return s;
}

static void on_taken(const struct launcher_reply *reply, void *arg)
{
    struct take *take = arg;
    struct sandbox *sb = take->sandbox;
    struct snapshot *snapshot = NULL;
    struct err err = {0};
    if (sb) {
        TAILQ_REMOVE(&sb->takes, take, link);
        if (!TAILQ_EMPTY(&sb->takes))
            start_take(TAILQ_FIRST(&sb->takes));
    }
    if (reply->code != ERR_OK)
        err_set(&err, reply->code, reply->os, "taking the snapshot: %s", reply->message);
    else if (sb && take->done)
        snapshot = add_taken(take);
    else
        drop_files(take->list, take->id);
    if (take->done)
        take->done(snapshot, snapshot ? NULL : &err, take->arg);
    take_free(take);
}

static void start_take(struct take *take)
{
    struct launcher_request request = {.op = LAUNCHER_SNAPSHOT};
    memcpy(request.id, take->sandbox->id, sizeof request.id);
    memcpy(request.base, take->id, sizeof request.base);
    launcher_link_call(take->list->server->link, &request, STR(""), TAKE_TIMEOUT, on_taken, take);
}

void snapshot_take(struct sandbox *sandbox, snapshot_taken_fn *done, void *arg)
{
    struct take *take = xcalloc(1, sizeof *take);
    take->list = sandbox->server->snapshots;
    take->sandbox = sandbox;
    take->done = done;
    take->arg = arg;
    take->id[0] = 's';
    random_id(take->id + 1, ID_CHARS);
    LIST_INSERT_HEAD(&take->list->takes, take, in_list);
    TAILQ_INSERT_TAIL(&sandbox->takes, take, link);
    if (TAILQ_FIRST(&sandbox->takes) == take)
        start_take(take);
}

void snapshot_take_forget(struct snapshot_list *list, const void *arg)
{
    struct take *take;
    LIST_FOREACH(take, &list->takes, in_list)
    if (take->arg == arg)
        take->done = NULL;
}

void snapshot_takes_end(struct sandbox *sandbox)
{
    struct take *take;
    struct err err;
    err_set(&err, ERR_NOT_FOUND, 0, "the sandbox ended while its snapshot was taken");
    bool first = true; /* the launcher's answer to it is still to come */
    while ((take = TAILQ_FIRST(&sandbox->takes))) {
        TAILQ_REMOVE(&sandbox->takes, take, link);
        take->sandbox = NULL;
        snapshot_taken_fn *done = take->done;
        void *arg = take->arg;
        take->done = NULL;
        if (!first)
            take_free(take);
        first = false;
        if (done)
            done(NULL, &err, arg);
    }
}

/* ---- store ---- */

static int save(struct snapshot_list *list, const struct snapshot *s, struct err *err)
{
    json_t *record =
        json_pack("{s:I, s:I, s:I, s:I}", "memoryBytes", (json_int_t)s->limits.memory_bytes,
                  "cpuMillis", (json_int_t)s->limits.cpu_millis, "pids", (json_int_t)s->limits.pids,
                  "diskBytes", (json_int_t)s->limits.disk_bytes);
    if (s->env_vars)
        json_object_set(record, "envVars", s->env_vars);
    _cleanup_free_ char *text = json_dumps(record, JSON_COMPACT);
    json_decref(record);
    if (!text)
        return err_set(err, ERR_INTERNAL, 0, "snapshot record cannot be written as JSON");
    struct store_snapshot row = {
        .id = s->id,
        .project = s->project,
        .name = s->name,
        .tag = s->tag,
        .sandbox = s->sandbox,
        .template_name = s->template_name,
        .created = s->created,
        .record = text,
    };
    return store_put_snapshot(list->server->store, &row, err);
}

static int load_record(struct snapshot *s, const json_t *record, struct err *err)
{
    int64_t memory = 0, cpu = 0, pids = 0, disk = 0;
    json_t *env_vars = NULL;
    int rc;
    if ((rc = field_integer(record, "memoryBytes", 0, INT64_MAX, &memory, err)) < 0 ||
        (rc = field_integer(record, "cpuMillis", 0, UINT32_MAX, &cpu, err)) < 0 ||
        (rc = field_integer(record, "pids", 0, UINT32_MAX, &pids, err)) < 0 ||
        (rc = field_integer(record, "diskBytes", 0, INT64_MAX, &disk, err)) < 0 ||
        (rc = field_string_map(record, "envVars", &env_vars, err)) < 0)
        return rc;
    s->limits = (struct launcher_limits){.memory_bytes = (uint64_t)memory,
                                         .cpu_millis = (uint32_t)cpu,
                                         .pids = (uint32_t)pids,
                                         .disk_bytes = (uint64_t)disk};
    s->env_vars = env_vars ? json_incref(env_vars) : NULL;
    return 0;
}

static int load_row(const struct store_snapshot *row, void *arg)
{
    struct snapshot_list *list = arg;
    struct err err;
    char id[ROUTE_ID_MAX + 1];
    json_t *record = field_parse_object(str_from(row->record), &err);
    struct snapshot *s = xcalloc(1, sizeof *s);
    LIST_INSERT_HEAD(&list->all, s, link);
    int rc = record ? load_record(s, record, &err) : -1;
    json_decref(record);
    if (rc >= 0 && (route_parse_id(str_from(row->id), id) < 0 || strcmp(id, row->id) != 0))
        rc = err_set(&err, ERR_INVALID, 0, "bad id");
    if (rc < 0) {
        log_error("snapshot row not understood", "id=%s error=\"%s\"", row->id, err.message);
        snapshot_free(s);
        return 0;
    }
    memcpy(s->id, id, sizeof s->id);
    snprintf(s->project, sizeof s->project, "%s", row->project);
    snprintf(s->name, sizeof s->name, "%s", row->name);
    snprintf(s->tag, sizeof s->tag, "%s", row->tag);
    snprintf(s->sandbox, sizeof s->sandbox, "%s", row->sandbox);
    snprintf(s->template_name, sizeof s->template_name, "%s", row->template_name);
    s->created = row->created;
    return 0;
}

int snapshot_list_load(struct snapshot_list *list, struct err *err)
{
    return store_each_snapshot(list->server->store, load_row, list, err);
}

int snapshot_publish(struct snapshot_list *list, struct snapshot *s, const char *name,
                     const char *tag, struct err *err)
{
    struct snapshot *before = *name ? find_name(list, s->project, name, tag) : NULL;
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->tag, sizeof s->tag, "%s", tag);
    int rc = save(list, s, err);
    if (rc < 0) {
        snapshot_drop(list, s, NULL);
        return rc;
    }
    s->hidden = false;
    log_info("snapshot created", "id=%s sandbox=%s name=%s", s->id, s->sandbox, s->name);
    struct err ignored;
    if (before && snapshot_drop(list, before, &ignored) < 0)
        log_error("snapshot not deleted", "id=%s error=\"%s\"", before->id, ignored.message);
    return 0;
}

/* ---- reconciliation ---- */

void snapshot_list_begin(struct snapshot_list *list)
{
    struct snapshot *s;
    LIST_FOREACH(s, &list->all, link)
    s->confirmed = false;
}

void snapshot_list_named(struct snapshot_list *list, const char *id)
{
    struct snapshot *s = find_id(list, id);
    if (s) {
        s->confirmed = true;
        return;
    }
    if (store_found(list->server->store) == STORE_LOST) {
        log_warning("snapshot kept that no row is of", "id=%s", id);
        return;
    }
    log_warning("files of a snapshot that is not known are dropped", "id=%s", id);
    drop_files(list, id);
}

void snapshot_list_end(struct snapshot_list *list)
{
    struct snapshot *s, *next;
    struct err err;
    for (s = LIST_FIRST(&list->all); s; s = next) {
        next = LIST_NEXT(s, link);
        if (s->confirmed || s->hidden)
            continue;
        log_error("snapshot without files", "id=%s", s->id);
        if (snapshot_drop(list, s, &err) < 0)
            log_error("snapshot not deleted", "id=%s error=\"%s\"", s->id, err.message);
    }
}
