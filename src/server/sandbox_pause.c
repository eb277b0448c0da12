/* SPDX-License-Identifier: Apache-2.0 */
/* Pause and resume of a sandbox: in place, or of its files only. */
#include <assert.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/event.h"
#include "server/network.h"
#include "server/proxy.h"
#include "server/sandbox-internal.h"
#include "server/sandbox_record.h"
#include "server/server.h"

#define FREEZE_TIMEOUT (20 * CLOCK_S)
#define PARK_TIMEOUT   (120 * CLOCK_S) /* what it wrote has to reach the disk */

bool sandbox_wakes(const struct sandbox *sb)
{
    return sb->auto_resume && !sb->cold;
}

/* ---- pause ---- */

static void paused(struct sandbox *sb)
{
    sb->state = SANDBOX_PAUSED;
    sb->end = clock_wall_ns();
    sandbox_save_life(sb);
    log_info("sandbox paused", "id=%s cold=%d", sb->id, sb->cold);
    event_add(sb, EVENT_INFO, "sandbox paused", "mode", sb->cold ? "filesystem" : "full", NULL);
    sandbox_settle(sb, NULL);
}

static void not_paused(struct sandbox *sb, const struct launcher_reply *reply)
{
    struct err err;
    err_set(&err, reply->code, reply->os, "pausing the sandbox: %s", reply->message);
    log_error("sandbox not paused", "id=%s error=\"%s\"", sb->id, err.message);
    sb->state = SANDBOX_RUNNING;
    /* One whose time is over must not run on for want of a freezer. */
    if (sb->end <= clock_wall_ns())
        sandbox_kill(sb, "could not be paused at its end");
    else
        sandbox_arm(sb);
    sandbox_settle(sb, &err);
}

static void on_paused(const struct launcher_reply *reply, void *arg)
{
    struct sandbox *sb = arg;
    if (sb->state != SANDBOX_PAUSING)
        return;
    if (reply->code == ERR_NOT_FOUND) {
        sandbox_kill(sb, "the launcher does not know it");
    } else if (reply->code != ERR_OK) {
        not_paused(sb, reply);
    } else {
        sb->cold = reply->op == LAUNCHER_PARK;
        paused(sb);
    }
}

void sandbox_pause(struct sandbox *sb, bool memory, const char *reason)
{
    assert(sb->state == SANDBOX_RUNNING);
    log_info("sandbox pauses", "id=%s memory=%d reason=\"%s\"", sb->id, memory, reason);
    sb->state = SANDBOX_PAUSING;
    sb->unconfirmed = false; /* what a reconciliation hears of it now may be older */
    uv_timer_stop(&sb->timer);
    proxy_cut_all(sb);
    if (memory)
        sandbox_call(sb, LAUNCHER_FREEZE, FREEZE_TIMEOUT, on_paused);
    else
        sandbox_call(sb, LAUNCHER_PARK, PARK_TIMEOUT, on_paused);
}

/* ---- resume ---- */

static void not_resumed(struct sandbox *sb, const struct err *err)
{
    event_add(sb, EVENT_ERROR, "sandbox not resumed", "error", err->message, NULL);
    log_error("sandbox not resumed", "id=%s error=\"%s\"", sb->id, err->message);
    sb->state = SANDBOX_PAUSED;
    sb->end = clock_wall_ns();
    sandbox_save_life(sb);
    sandbox_settle(sb, err);
}

static void on_resumed(const struct launcher_reply *reply, void *arg)
{
    struct sandbox *sb = arg;
    struct err err;
    if (sb->state != SANDBOX_RESUMING)
        return;
    if (reply->code == ERR_NOT_FOUND && reply->op == LAUNCHER_THAW) {
        sandbox_kill(sb, "the launcher does not know it");
        return;
    }
    if (reply->code != ERR_OK) {
        err_set(&err, reply->code, reply->os, "resuming the sandbox: %s", reply->message);
        not_resumed(sb, &err);
        return;
    }
    sb->state = SANDBOX_RUNNING;
    if (sb->cold) {
        sb->cold = false;
        sb->oom_kills = 0; /* its groups are new */
        sandbox_save_life(sb);
    }
    sandbox_arm(sb);
    log_info("sandbox resumed", "id=%s memory=%d", sb->id, reply->op == LAUNCHER_THAW);
    event_add(sb, EVENT_INFO, "sandbox resumed", "mode",
              reply->op == LAUNCHER_THAW ? "restore" : "reboot", NULL);
    sandbox_settle(sb, NULL);
}

/* As a creation, of the files that it has, with the variables and the network it had. */
static int start_again(struct sandbox *sb, struct err *err)
{
    _cleanup_free_ struct network *network = xmalloc(sizeof *network);
    struct template template;
    int rc = network_from_json(sb->network, "network.", sb->allow_internet, network, err);
    if (rc == 0)
        rc = template_load(sb->server->config->templates, sb->template_name, &template, err);
    if (rc < 0)
        return rc;
    _cleanup_free_ char *config = sandbox_record_agent_config(sb, &template, sb->env_vars);
    template_done(&template);
    if (!config)
        return err_set(err, ERR_INTERNAL, 0, "its configuration cannot be written");
    sandbox_order(sb, network, str_from(config), true, on_resumed);
    return 0;
}

static void on_parked(const struct launcher_reply *reply, void *arg)
{
    struct sandbox *sb = arg;
    struct err err;
    if (sb->state != SANDBOX_RESUMING)
        return;
    if (reply->code != ERR_OK) {
        err_set(&err, reply->code, reply->os, "resuming the sandbox: %s", reply->message);
        not_resumed(sb, &err);
        return;
    }
    sb->cold = true;
    sandbox_save_life(sb);
    if (start_again(sb, &err) < 0)
        not_resumed(sb, &err);
}

/* Failures of our own come in the next turn of the loop, as the launcher's do. */
static void on_start_again(uv_timer_t *timer)
{
    struct sandbox *sb = timer->data;
    struct err err;
    if (sb->state != SANDBOX_RESUMING)
        return;
    if (start_again(sb, &err) < 0)
        not_resumed(sb, &err);
}

void sandbox_resume(struct sandbox *sb, int64_t timeout, bool memory)
{
    assert(sb->state == SANDBOX_PAUSED);
    sb->timeout = timeout;
    sb->end = sandbox_end_after(sb, timeout);
    sb->life_started = clock_wall_ns();
    sb->state = SANDBOX_RESUMING;
    sb->unconfirmed = false;
    /* Saved first: after a crash from here on, a frozen box with a running row is a paused
     * sandbox, whereas a running box whose row says paused would have lost its end. A cold one stays
     * that until it runs. */
    sandbox_save_life(sb);
    if (sb->cold)
        uv_timer_start(&sb->timer, on_start_again, 0, 0);
    else if (memory)
        sandbox_call(sb, LAUNCHER_THAW, FREEZE_TIMEOUT, on_resumed);
    else
        sandbox_call(sb, LAUNCHER_PARK, PARK_TIMEOUT, on_parked);
}

/* ---- after a restart ---- */

void sandbox_adopt(struct sandbox *sb, enum launcher_state found)
{
    sb->unconfirmed = false;
    bool changed = sb->cold != (found == LAUNCHER_PARKED);
    if (found != LAUNCHER_RUNNING && sb->state == SANDBOX_RUNNING) {
        sb->state = SANDBOX_PAUSED;
        sb->cold = found == LAUNCHER_PARKED;
        sb->end = clock_wall_ns();
        uv_timer_stop(&sb->timer);
        proxy_cut_all(sb);
        sandbox_save_life(sb);
    } else if (sb->state == SANDBOX_PAUSED && sb->cold && found != LAUNCHER_PARKED) {
        /* It had been started again, but nobody was told. */
        sb->state = SANDBOX_PAUSING;
        sandbox_call(sb, LAUNCHER_PARK, PARK_TIMEOUT, on_paused);
    } else if (sb->state == SANDBOX_PAUSED && found == LAUNCHER_RUNNING) {
        /* The freezer was opened behind our back: clients know it as paused. */
        sb->state = SANDBOX_PAUSING;
        sandbox_call(sb, LAUNCHER_FREEZE, FREEZE_TIMEOUT, on_paused);
    } else if (sb->state == SANDBOX_PAUSED && changed) {
        sb->cold = found == LAUNCHER_PARKED;
        sandbox_save_life(sb);
    } else if (sb->state == SANDBOX_RUNNING) {
        sandbox_arm(sb);
    }
}
