/* SPDX-License-Identifier: Apache-2.0 */
/* The pool: a shelf for each template, filled one sandbox after another when nothing else goes on. */
#include "server/pool.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/network.h"
#include "server/sandbox.h"
#include "server/sandbox_record.h"
#include "server/server.h"

enum {
    SHELVES_MAX = 16,
    COUNT_MAX = 256,
    QUIET_MS = 20,   /* without anybody taking one, before they are replaced */
    RETRY_MS = 1000, /* after a failure, doubled each time ... */
    RETRY_MAX_MS = 64000,
};

struct shelf {
    struct pool *pool;
    char name[TEMPLATE_NAME_MAX + 1];
    char build_id[TEMPLATE_BUILD_ID_SIZE]; /* of the template that those on it were made from */
    size_t wanted;
    size_t count; /* on it */
    struct sandbox *making;
    TAILQ_HEAD(, sandbox) waiting;
    int64_t not_before; /* monotonic: after failures */
    int64_t pause_ms;
};

struct pool {
    struct server *server;
    struct shelf shelves[SHELVES_MAX];
    size_t shelf_count;
    uv_timer_t timer;
    bool filling;
};

/* ---- option ---- */

/* The next "NAME=COUNT" of *rest. */
static int parse_shelf(struct str *rest, struct shelf *ret, struct err *err)
{
    struct str name, count;
    uint64_t wanted;
    str_split(rest, ',', &count);
    struct str whole = count;
    str_split(&count, '=', &name);
    if (!count.p || str_to_u64(count, COUNT_MAX, &wanted) < 0)
        return err_set(err, ERR_INVALID, 0, "pool: \"%.*s\" is not NAME=COUNT, with COUNT up to %d",
                       STR_ARG(whole), COUNT_MAX);
    int rc = template_parse_reference(name, ret->name, err);
    if (rc == 0)
        ret->wanted = (size_t)wanted;
    return rc;
}

static int parse(const char *text, struct shelf shelves[SHELVES_MAX], size_t *ret_count,
                 struct err *err)
{
    struct str rest = str_from(text);
    size_t count = 0;
    if (strcmp(text, "none") == 0)
        rest = (struct str){NULL, 0};
    while (rest.p) {
        if (count == SHELVES_MAX)
            return err_set(err, ERR_INVALID, 0, "pool: more than %d templates", SHELVES_MAX);
        int rc = parse_shelf(&rest, &shelves[count], err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < count; i++)
            if (strcmp(shelves[i].name, shelves[count].name) == 0)
                return err_set(err, ERR_INVALID, 0, "pool: \"%s\" is there twice", shelves[i].name);
        count++;
    }
    *ret_count = count;
    return 0;
}

int pool_check(const char *text, struct err *err)
{
    struct shelf shelves[SHELVES_MAX];
    size_t count;
    return parse(text, shelves, &count, err);
}

/* ---- filling ---- */

static void on_timer(uv_timer_t *timer);

static void schedule(struct pool *pool, int64_t ms)
{
    if (!pool->filling)
        return;
    uv_update_time(&pool->server->loop);
    uv_timer_start(&pool->timer, on_timer, (uint64_t)ms, 0);
}

static void failed(struct shelf *shelf, const char *why)
{
    shelf->pause_ms = shelf->pause_ms ? shelf->pause_ms * 2 : RETRY_MS;
    if (shelf->pause_ms > RETRY_MAX_MS)
        shelf->pause_ms = RETRY_MAX_MS;
    shelf->not_before = clock_mono_ns() + shelf->pause_ms * CLOCK_MS;
    log_warning("pool not filled", "template=%s again_ms=%lld error=\"%s\"", shelf->name,
                (long long)shelf->pause_ms, why);
}

static void empty(struct shelf *shelf, const char *reason)
{
    struct sandbox *sb;
    while ((sb = TAILQ_FIRST(&shelf->waiting)))
        sandbox_kill(sb, reason);
}

static void make(struct shelf *shelf, const struct template *template)
{
    static const struct network open_network;
    struct sandbox *sb = sandbox_new(shelf->pool->server);
    sandbox_record_set_template(sb, shelf->name);
    sb->limits = sandbox_record_limits(sb->server->config, template);
    sb->shelf = shelf;
    shelf->making = sb;
    char *config = sandbox_record_agent_config(sb, template, NULL);
    sandbox_start(sb, &open_network, str_from(config));
    free(config);
}

static void fill(struct shelf *shelf)
{
    struct template template;
    struct err err;
    int rc = template_load(shelf->pool->server->config->templates, shelf->name, &template, &err);
    if (rc < 0) {
        failed(shelf, err.message);
        return;
    }
    if (strcmp(shelf->build_id, template.build_id) != 0)
        empty(shelf, "its template was built anew");
    memcpy(shelf->build_id, template.build_id, sizeof shelf->build_id);
    make(shelf, &template);
    template_done(&template);
}

static bool making_any(const struct pool *pool)
{
    for (size_t i = 0; i < pool->shelf_count; i++)
        if (pool->shelves[i].making)
            return true;
    return false;
}

/* One at a time: it is nobody's hurry. */
static void on_timer(uv_timer_t *timer)
{
    struct pool *pool = timer->data;
    int64_t now = clock_mono_ns(), next = 0;
    for (size_t i = 0; i < pool->shelf_count && pool->filling && !making_any(pool); i++) {
        struct shelf *shelf = &pool->shelves[i];
        if (shelf->count >= shelf->wanted)
            continue;
        if (shelf->not_before <= now)
            fill(shelf);
        if (shelf->not_before > now && (next == 0 || shelf->not_before < next))
            next = shelf->not_before;
    }
    if (next > 0 && !making_any(pool))
        schedule(pool, (next - now) / CLOCK_MS + 1);
}

void pool_ready(struct sandbox *sb)
{
    struct shelf *shelf = sb->shelf;
    shelf->making = NULL;
    shelf->pause_ms = 0;
    shelf->count++;
    TAILQ_INSERT_HEAD(&shelf->waiting, sb, shelf_link);
    log_debug("sandbox waits", "id=%s template=%s count=%zu", sb->id, shelf->name, shelf->count);
    schedule(shelf->pool, 0);
}

void pool_lost(struct sandbox *sb, const struct err *err)
{
    struct shelf *shelf = sb->shelf;
    sb->shelf = NULL;
    if (shelf->making == sb) {
        shelf->making = NULL;
        if (shelf->pool->filling)
            failed(shelf, err ? err->message : "it ended");
    } else {
        TAILQ_REMOVE(&shelf->waiting, sb, shelf_link);
        shelf->count--;
    }
    schedule(shelf->pool, QUIET_MS);
}

/* ---- taking ---- */

size_t pool_count(const struct pool *pool)
{
    size_t count = 0;
    for (size_t i = 0; i < pool->shelf_count; i++)
        count += pool->shelves[i].count + (pool->shelves[i].making ? 1 : 0);
    return count;
}

struct sandbox *pool_take(struct pool *pool, const struct template *template,
                          const struct launcher_limits *limits)
{
    struct shelf *shelf = pool->shelves, *end = pool->shelves + pool->shelf_count;
    while (shelf < end && strcmp(shelf->name, template->name) != 0)
        shelf++;
    if (shelf == end)
        return NULL;
    if (strcmp(shelf->build_id, template->build_id) != 0) {
        /* What is being made now will be found out when it is the next one's turn. */
        empty(shelf, "its template was built anew");
        schedule(pool, QUIET_MS);
        return NULL;
    }
    struct sandbox *sb = TAILQ_FIRST(&shelf->waiting);
    if (!sb || memcmp(&sb->limits, limits, sizeof *limits) != 0)
        return NULL;
    TAILQ_REMOVE(&shelf->waiting, sb, shelf_link);
    shelf->count--;
    sb->shelf = NULL;
    schedule(pool, shelf->count > shelf->wanted / 2 ? QUIET_MS : 0);
    return sb;
}

/* ---- begin and end ---- */

struct pool *pool_new(struct server *server)
{
    struct pool *pool = xcalloc(1, sizeof *pool);
    pool->server = server;
    uv_timer_init(&server->loop, &pool->timer);
    pool->timer.data = pool;
    /* Checked when the options were read. */
    (void)parse(server->config->pool, pool->shelves, &pool->shelf_count, NULL);
    for (size_t i = 0; i < pool->shelf_count; i++) {
        pool->shelves[i].pool = pool;
        TAILQ_INIT(&pool->shelves[i].waiting);
    }
    return pool;
}

void pool_start(struct pool *pool)
{
    pool->filling = true;
    schedule(pool, 0);
}

void pool_stop(struct pool *pool)
{
    pool->filling = false;
    uv_timer_stop(&pool->timer);
    for (size_t i = 0; i < pool->shelf_count; i++) {
        empty(&pool->shelves[i], "the server stops");
        if (pool->shelves[i].making)
            sandbox_kill(pool->shelves[i].making, "the server stops");
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    pool->filling = false;
    uv_close((uv_handle_t *)&pool->timer, on_closed);
}
