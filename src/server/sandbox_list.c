/* SPDX-License-Identifier: Apache-2.0 */
/* The table of sandboxes and its reconciliation. */
#include "server/sandbox_list.h"

#include <assert.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/key.h"
#include "server/launcher_link.h"
#include "server/sandbox.h"
#include "server/sandbox_record.h"
#include "server/server.h"
#include "server/snapshot.h"

enum { BUCKETS = 4096, RETRY_MS = 500 };
#define LIST_TIMEOUT  (30 * CLOCK_S)
#define STRAY_TIMEOUT (30 * CLOCK_S)

struct sandbox_list {
    struct server *server;
    TAILQ_HEAD(, sandbox) all;
    LIST_HEAD(, sandbox) buckets[BUCKETS];
    size_t count;
    uv_timer_t retry;
};

struct sandbox_list *sandbox_list_new(struct server *server)
{
    struct sandbox_list *list = xcalloc(1, sizeof *list);
    list->server = server;
    TAILQ_INIT(&list->all);
    for (int i = 0; i < BUCKETS; i++)
        LIST_INIT(&list->buckets[i]);
    uv_timer_init(&server->loop, &list->retry);
    list->retry.data = list;
    return list;
}

static void on_retry_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void sandbox_list_free(struct sandbox_list *list)
{
    struct sandbox *sandbox;
    while ((sandbox = TAILQ_FIRST(&list->all)))
        sandbox_forget(sandbox);
    uv_close((uv_handle_t *)&list->retry, on_retry_closed);
}

static unsigned bucket(const char *id)
{
    uint32_t hash = 2166136261u;
    for (; *id; id++)
        hash = (hash ^ (unsigned char)*id) * 16777619u;
    return hash % BUCKETS;
}

void sandbox_list_add(struct sandbox_list *list, struct sandbox *sandbox)
{
    TAILQ_INSERT_TAIL(&list->all, sandbox, link);
    LIST_INSERT_HEAD(&list->buckets[bucket(sandbox->id)], sandbox, hash_link);
    list->count++;
}

void sandbox_list_remove(struct sandbox_list *list, struct sandbox *sandbox)
{
    TAILQ_REMOVE(&list->all, sandbox, link);
    LIST_REMOVE(sandbox, hash_link);
    list->count--;
}

struct sandbox *sandbox_list_find(const struct sandbox_list *list, const char *id)
{
    struct sandbox *sandbox;
    LIST_FOREACH(sandbox, &list->buckets[bucket(id)], hash_link)
    if (strcmp(sandbox->id, id) == 0)
        return sandbox;
    return NULL;
}

size_t sandbox_list_count(const struct sandbox_list *list)
{
    return list->count;
}

struct sandbox *sandbox_list_first(const struct sandbox_list *list)
{
    return TAILQ_FIRST(&list->all);
}

struct sandbox *sandbox_list_next(const struct sandbox *sandbox)
{
    return TAILQ_NEXT(sandbox, link);
}

/* ---- store ---- */

static int load_row(const struct store_sandbox *row, void *arg)
{
    struct sandbox_list *list = arg;
    struct err err;
    struct sandbox *sandbox = sandbox_record_load(list->server, row, &err);
    if (sandbox) {
        sandbox_restore(sandbox);
        return 0;
    }
    log_error("sandbox row not understood", "id=%s error=\"%s\"", row->id, err.message);
    sandbox = sandbox_record_rescue(list->server, row);
    if (sandbox)
        sandbox_restore(sandbox);
    return 0;
}

/* Nothing is known of it but what the launcher says: it is kept, for the first project. */
static struct sandbox *rescue(struct sandbox_list *list, const struct launcher_reply *reply)
{
    int64_t now = clock_wall_ns();
    const struct store_sandbox row = {
        .id = reply->id,
        .project = KEY_DEFAULT_PROJECT,
        .template_name = reply->template_name,
        .state = reply->state == LAUNCHER_RUNNING  ? "running"
                 : reply->state == LAUNCHER_FROZEN ? "paused"
                                                   : "cold",
        .started = now,
        .life_started = now,
        .end = now + (int64_t)list->server->config->max_timeout * CLOCK_S,
        .record = "",
    };
    struct sandbox *sandbox = sandbox_record_rescue(list->server, &row);
    struct err err;
    if (!sandbox)
        return NULL;
    log_warning("sandbox kept that no row is of", "id=%s", sandbox->id);
    sandbox_restore(sandbox);
    if (sandbox_record_save(sandbox, &err) < 0)
        log_error("sandbox not saved", "id=%s error=\"%s\"", sandbox->id, err.message);
    return sandbox;
}

int sandbox_list_load(struct sandbox_list *list, struct err *err)
{
    return store_each_sandbox(list->server->store, load_row, list, err);
}

/* ---- reconciliation ---- */

static void on_stray_destroyed(const struct launcher_reply *reply, void *arg)
{
    /* A failure is not followed up: the next reconciliation finds the box again. */
    if (reply->code != ERR_OK)
        log_error("stray box not destroyed", "id=%s error=\"%s\"", reply->id, reply->message);
}

void sandbox_list_destroy_stray(struct sandbox_list *list, const char *id)
{
    struct launcher_request request = {.op = LAUNCHER_DESTROY};
    log_warning("box without a sandbox is destroyed", "id=%s", id);
    memcpy(request.id, id, strnlen(id, sizeof request.id - 1));
    launcher_link_call(list->server->link, &request, STR(""), STRAY_TIMEOUT, on_stray_destroyed,
                       list->server);
}

static void on_retry(uv_timer_t *timer)
{
    sandbox_list_reconcile(timer->data);
}

static void finish(struct sandbox_list *list)
{
    struct sandbox *sandbox;
    TAILQ_FOREACH(sandbox, &list->all, link)
    {
        if (sandbox->unconfirmed && sandbox->state != SANDBOX_KILLING) {
            sandbox->unconfirmed = false;
            sandbox_vanished(sandbox, "it has no box");
        }
    }
    snapshot_list_end(list->server->snapshots);
    server_adopted(list->server);
}

static void on_listed(const struct launcher_reply *reply, void *arg)
{
    struct sandbox_list *list = arg;
    if (reply->code == ERR_UNAVAILABLE && !launcher_link_connected(list->server->link))
        return; /* the next connection brings us back */
    if (reply->code != ERR_OK) {
        log_error("launcher's list failed", "error=\"%s\"", reply->message);
        uv_timer_start(&list->retry, on_retry, RETRY_MS, 0);
        return;
    }
    if (!reply->more) {
        finish(list);
        return;
    }
    if (reply->state == LAUNCHER_IS_SNAPSHOT) {
        snapshot_list_named(list->server->snapshots, reply->id);
        return;
    }
    struct sandbox *sandbox = sandbox_list_find(list, reply->id);
    if (!sandbox && store_found(list->server->store) == STORE_LOST && !list->server->ready)
        sandbox = rescue(list, reply);
    if (!sandbox)
        sandbox_list_destroy_stray(list, reply->id);
    else if (sandbox->unconfirmed)
        sandbox_adopt(sandbox, reply->state);
}

void sandbox_list_reconcile(struct sandbox_list *list)
{
    struct launcher_request request = {.op = LAUNCHER_LIST};
    struct sandbox *sandbox;
    uv_timer_stop(&list->retry);
    launcher_link_forget(list->server->link, list);
    TAILQ_FOREACH(sandbox, &list->all, link)
    sandbox->unconfirmed = sandbox->state == SANDBOX_RUNNING || sandbox->state == SANDBOX_PAUSED ||
                           sandbox->state == SANDBOX_WAITING;
    snapshot_list_begin(list->server->snapshots);
    launcher_link_call(list->server->link, &request, STR(""), LIST_TIMEOUT, on_listed, list);
}
