/* SPDX-License-Identifier: Apache-2.0 */
/* Transitions of a sandbox. */
#include "server/sandbox-internal.h"

#include <assert.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "rpc/envelope.h"
#include "server/agent_call.h"
#include "server/event.h"
#include "server/launcher_link.h"
#include "server/network.h"
#include "server/pool.h"
#include "server/proxy.h"
#include "server/sample.h"
#include "server/sandbox_list.h"
#include "server/sandbox_record.h"
#include "server/snapshot.h"
#include "server/server.h"

enum {
    ID_CHARS = 19, /* after the "i" */
    DESTROY_RETRY_MS = 2000,
};
#define DESTROY_TIMEOUT (30 * CLOCK_S)
#define SLOW_CREATION   (CLOCK_S / 10)
enum { AGENT_TIMEOUT_MS = 3000 };

static void on_end_of_life(uv_timer_t *timer);

struct sandbox *sandbox_new(struct server *server)
{
    struct sandbox *sb = xcalloc(1, sizeof *sb);
    sb->server = server;
    sb->state = SANDBOX_CREATING;
    sb->kills_known = true;
    sb->allow_internet = sb->auto_pause_memory = true;
    TAILQ_INIT(&sb->takes);
    sb->id[0] = 'i';
    random_id(sb->id + 1, ID_CHARS);
    LIST_INIT(&sb->waits);
    LIST_INIT(&sb->proxies);
    return sb;
}

void sandbox_free(struct sandbox *sb)
{
    if (!sb)
        return;
    json_decref(sb->metadata);
    json_decref(sb->network);
    json_decref(sb->env_vars);
    free(sb->creation_key);
    sample_ring_free(sb->samples);
    explicit_bzero(sb->envd_token, sizeof sb->envd_token);
    explicit_bzero(sb->traffic_token, sizeof sb->traffic_token);
    free(sb);
}

static void on_timer_closed(uv_handle_t *handle)
{
    sandbox_free(handle->data);
}

/* ---- waiting ---- */

void sandbox_wait(struct sandbox *sb, struct sandbox_wait *wait,
                  void (*done)(struct sandbox_wait *, struct sandbox *, const struct err *))
{
    assert(!wait->sandbox);
    wait->sandbox = sb;
    wait->done = done;
    LIST_INSERT_HEAD(&sb->waits, wait, link);
}

void sandbox_wait_cancel(struct sandbox_wait *wait)
{
    if (!wait->sandbox)
        return;
    LIST_REMOVE(wait, link);
    wait->sandbox = NULL;
}

/* Tells those who wait now; who begins to wait meanwhile waits for the next transition. */
void sandbox_settle(struct sandbox *sb, const struct err *err)
{
    LIST_HEAD(, sandbox_wait) waits;
    LIST_INIT(&waits);
    struct sandbox_wait *wait;
    while ((wait = LIST_FIRST(&sb->waits))) {
        LIST_REMOVE(wait, link);
        LIST_INSERT_HEAD(&waits, wait, link);
    }
    while ((wait = LIST_FIRST(&waits))) {
        LIST_REMOVE(wait, link);
        wait->sandbox = NULL;
        wait->done(wait, sb, err);
    }
}

/* ---- end of life ---- */

void sandbox_arm(struct sandbox *sb)
{
    int64_t left = sb->end - clock_wall_ns();
    uv_update_time(&sb->server->loop);
    uv_timer_start(&sb->timer, on_end_of_life,
                   left > 0 ? (uint64_t)((left + CLOCK_MS - 1) / CLOCK_MS) : 0, 0);
}

int64_t sandbox_end_after(const struct sandbox *sb, int64_t timeout)
{
    int64_t now = clock_wall_ns();
    int64_t begin = sb->state == SANDBOX_RUNNING ? sb->life_started : now;
    int64_t last = begin + (int64_t)sb->server->config->max_timeout * CLOCK_S;
    int64_t end = now + timeout * CLOCK_S;
    return end < last ? end : last;
}

void sandbox_save_life(struct sandbox *sb)
{
    struct err err;
    if (store_update_sandbox(sb->server->store, sb->id, sandbox_stored_state(sb), sb->life_started,
                             sb->end, &err) < 0)
        log_error("sandbox not saved", "id=%s error=\"%s\"", sb->id, err.message);
}

void sandbox_set_end(struct sandbox *sb, int64_t end)
{
    sb->end = end;
    sandbox_save_life(sb);
    sandbox_arm(sb);
}

static void on_end_of_life(uv_timer_t *timer)
{
    struct sandbox *sb = timer->data;
    if (sb->state != SANDBOX_RUNNING)
        return;
    if (sb->end > clock_wall_ns() + CLOCK_MS)
        sandbox_arm(sb); /* the wall clock was set back */
    else if (sb->auto_pause)
        sandbox_pause(sb, sb->auto_pause_memory, "timeout");
    else
        sandbox_kill(sb, "timeout");
}

/* ---- states ---- */

bool sandbox_visible(const struct sandbox *sb)
{
    return sb->state != SANDBOX_CREATING && sb->state != SANDBOX_WAITING &&
           sb->state != SANDBOX_KILLING;
}

const char *sandbox_state_name(const struct sandbox *sb)
{
    return sb->state == SANDBOX_PAUSING || sb->state == SANDBOX_PAUSED ? "paused" : "running";
}

void sandbox_call(struct sandbox *sb, enum launcher_op op, int64_t timeout, launcher_done_fn *done)
{
    struct launcher_request request = {.op = op};
    memcpy(request.id, sb->id, sizeof request.id);
    launcher_link_call(sb->server->link, &request, STR(""), timeout, done, sb);
}

const char *sandbox_stored_state(const struct sandbox *sb)
{
    return sb->cold ? "cold" : sandbox_state_name(sb);
}

static void open_timer(struct sandbox *sb)
{
    uv_timer_init(&sb->server->loop, &sb->timer);
    sb->timer.data = sb;
}

/* The last step of every life: nobody holds it any more after this. */
static void leave(struct sandbox *sb, const struct err *err)
{
    if (sb->shelf)
        pool_lost(sb, err);
    launcher_link_forget(sb->server->link, sb);
    snapshot_takes_end(sb);
    sandbox_settle(sb, err);
    sandbox_list_remove(sb->server->sandboxes, sb);
    uv_close((uv_handle_t *)&sb->timer, on_timer_closed);
}

/* ---- creation ---- */

/* Its life begins now. False when it was killed instead. */
static bool save(struct sandbox *sb)
{
    struct err err;
    sb->life_started = sb->started = clock_wall_ns();
    sb->end = sandbox_end_after(sb, sb->timeout);
    if (sandbox_record_save(sb, &err) < 0) {
        log_error("sandbox not saved", "id=%s error=\"%s\"", sb->id, err.message);
        sandbox_settle(sb, &err);
        sandbox_kill(sb, "not saved");
        return false;
    }
    return true;
}

static void unsave(struct sandbox *sb)
{
    struct err err;
    if (store_delete_sandbox(sb->server->store, sb->id, &err) < 0)
        log_error("sandbox not deleted", "id=%s error=\"%s\"", sb->id, err.message);
}

static void begin(struct sandbox *sb)
{
    sb->state = SANDBOX_RUNNING;
    sandbox_arm(sb);
    sandbox_settle(sb, NULL);
    log_info("sandbox created", "id=%s template=%s timeout=%lld", sb->id, sb->template_name,
             (long long)sb->timeout);
    event_add(sb, EVENT_INFO, "sandbox created", "template", sb->shown, NULL);
}

/* ---- creation: out of the pool ---- */

/* A request of ours to the agent, with a deadline. False when it was killed instead. */
static bool ask_agent(struct sandbox *sb, const char *method, const char *target,
                      const char *content_type, struct str body, agent_call_done_fn *done)
{
    int rc = agent_call_start(sb->server, sb->id, method, target, content_type, body,
                              AGENT_TIMEOUT_MS, done, sb, &sb->call);
    if (rc < 0)
        sandbox_kill(sb, "its agent cannot be reached");
    return rc == 0;
}

/* True when the agent did as it was asked; otherwise the sandbox is being killed. */
static bool agent_did(struct sandbox *sb, bool well)
{
    sb->call = NULL;
    if (well)
        return true;
    log_error("agent did not answer as it should", "id=%s", sb->id);
    sandbox_kill(sb, "its agent failed");
    return false;
}

static void on_rehearsed(int status, void *arg)
{
    struct sandbox *sb = arg;
    /* Not every template has the program. */
    if (!agent_did(sb, status > 0))
        return;
    sb->state = SANDBOX_WAITING;
    pool_ready(sb);
}

static void on_greeted(int status, void *arg)
{
    struct sandbox *sb = arg;
    struct buf body;
    if (!agent_did(sb, status == 204))
        return;
    buf_init(&body, 256);
    int rc =
        envelope_append(&body, 0, STR("{\"process\":{\"cmd\":\"/bin/true\"},\"stdin\":false}"));
    assert(rc == 0);
    (void)rc;
    (void)ask_agent(sb, "POST", "/process.Process/Start", "application/connect+json",
                    buf_str(&body), on_rehearsed);
    buf_done(&body);
}

/* One for the pool has been made. Its first answer is a slow one, so it is not for a client, and so
 * is its first process: what the kernel learns of the root file system, and which of the agent's pages
 * are its own, takes as long as starting the program. */
static void greet(struct sandbox *sb)
{
    (void)ask_agent(sb, "GET", "/health", NULL, STR(""), on_greeted);
}

static void on_claimed(int status, void *arg)
{
    struct sandbox *sb = arg;
    if (!agent_did(sb, status == 204))
        return;
    if (LIST_EMPTY(&sb->waits))
        sandbox_kill(sb, "its client has gone");
    else
        begin(sb);
}

void sandbox_claim(struct sandbox *sb, struct str agent_config)
{
    sb->state = SANDBOX_CREATING;
    /* The row is written while the agent reads. */
    if (ask_agent(sb, "POST", "/init", NULL, agent_config, on_claimed))
        (void)save(sb);
}

/* ---- creation: anew ---- */

static void on_created(const struct launcher_reply *reply, void *arg)
{
    struct sandbox *sb = arg;
    struct err err = {0};
    if (sb->state == SANDBOX_KILLING) { /* stopped meanwhile; its destruction follows */
        return;
    }
    if (reply->code != ERR_OK) {
        /* What the host's system calls say is about the host, not about what was asked for. */
        enum err_code code = reply->os ? ERR_UNAVAILABLE : reply->code;
        err_set(&err, code, 0, "creating the sandbox: %s", reply->message);
        log_error("sandbox not created", "id=%s template=%s error=\"%s\"", sb->id,
                  sb->template_name, err.message);
        /* After a loss of the launcher nobody knows what exists of it. */
        if (reply->code == ERR_UNAVAILABLE || reply->code == ERR_TIMEOUT)
            sandbox_list_destroy_stray(sb->server->sandboxes, sb->id);
        if (!sb->shelf)
            unsave(sb);
        leave(sb, &err);
        return;
    }
    if (sb->shelf)
        greet(sb);
    else if (LIST_EMPTY(&sb->waits))
        sandbox_kill(sb, "its client has gone");
    else if (clock_wall_ns() - sb->started < SLOW_CREATION || save(sb))
        begin(sb);
}

void sandbox_order(struct sandbox *sb, const struct network *network, struct str agent_config,
                   bool again, launcher_done_fn *done)
{
    struct launcher_request request = {.op = LAUNCHER_CREATE,
                                       .limits = sb->limits,
                                       .allow_internet = !network->closed,
                                       .network_len = (uint32_t)network->len,
                                       .again = again};
    struct buf body;
    buf_init(&body, LAUNCHER_NETWORK_MAX + LAUNCHER_CONFIG_MAX);
    int rc = buf_append(&body, network->bytes, network->len);
    if (rc == 0)
        rc = buf_append_str(&body, agent_config);
    assert(rc == 0); /* both have been measured */
    memcpy(request.id, sb->id, sizeof request.id);
    memcpy(request.template_name, sb->template_name, sizeof sb->template_name);
    memcpy(request.base, sb->base, sizeof request.base);
    launcher_link_call(sb->server->link, &request, buf_str(&body), CREATE_TIMEOUT, done, sb);
    buf_done(&body);
}

void sandbox_start(struct sandbox *sb, const struct network *network, struct str agent_config)
{
    open_timer(sb);
    sandbox_list_add(sb->server->sandboxes, sb);
    sandbox_order(sb, network, agent_config, false, on_created);
    /* The row is written while the launcher works. After a crash in between it is a sandbox whose
     * client has not heard of it, or one without a box. */
    if (!sb->shelf)
        (void)save(sb);
}

/* ---- end ---- */

static void on_destroy_retry(uv_timer_t *timer);

static void on_destroyed(const struct launcher_reply *reply, void *arg)
{
    struct sandbox *sb = arg;
    if (reply->code == ERR_OK) {
        log_info("sandbox destroyed", "id=%s", sb->id);
        leave(sb, NULL);
        return;
    }
    struct err err;
    err_set(&err, reply->code, reply->os, "destroying the sandbox: %s", reply->message);
    log_error("sandbox not destroyed", "id=%s error=\"%s\"", sb->id, err.message);
    sandbox_settle(sb, &err);
    uv_timer_start(&sb->timer, on_destroy_retry, DESTROY_RETRY_MS, 0);
}

static void on_destroy_retry(uv_timer_t *timer)
{
    sandbox_call(timer->data, LAUNCHER_DESTROY, DESTROY_TIMEOUT, on_destroyed);
}

void sandbox_kill(struct sandbox *sb, const char *reason)
{
    struct err err;
    if (sb->state == SANDBOX_KILLING)
        return;
    log_info("sandbox ends", "id=%s reason=\"%s\"", sb->id, reason);
    if (sandbox_visible(sb))
        event_add(sb, EVENT_INFO, "sandbox ends", "reason", reason, NULL);
    sb->state = SANDBOX_KILLING;
    sb->server->stats.ended += !sb->shelf;
    uv_timer_stop(&sb->timer);
    agent_call_cancel(TAKE_PTR(sb->call));
    if (sb->shelf)
        pool_lost(sb, NULL);
    launcher_link_forget(sb->server->link, sb);
    unsave(sb);
    snapshot_takes_end(sb);
    proxy_cut_all(sb);
    if (!LIST_EMPTY(&sb->waits)) {
        err_set(&err, ERR_NOT_FOUND, 0, "the sandbox was killed");
        sandbox_settle(sb, &err);
    }
    sandbox_call(sb, LAUNCHER_DESTROY, DESTROY_TIMEOUT, on_destroyed);
}

void sandbox_vanished(struct sandbox *sb, const char *reason)
{
    /* What is left of it outside (directory, cgroup) still has to go. */
    if (sb->state != SANDBOX_CREATING)
        sandbox_kill(sb, reason);
}

/* ---- end and begin of the server ---- */

void sandbox_forget(struct sandbox *sb)
{
    proxy_cut_all(sb);
    snapshot_takes_end(sb);
    launcher_link_forget(sb->server->link, sb);
    sandbox_list_remove(sb->server->sandboxes, sb);
    uv_close((uv_handle_t *)&sb->timer, on_timer_closed);
}

void sandbox_restore(struct sandbox *sb)
{
    sb->unconfirmed = true;
    sb->kills_known = false;
    open_timer(sb);
    sandbox_list_add(sb->server->sandboxes, sb);
}
