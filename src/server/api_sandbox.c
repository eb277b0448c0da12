/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on one sandbox (protocol.md 2.2, 2.3). */
#include "server/api.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/agent_call.h"
#include "server/field.h"
#include "server/sandbox_record.h"
#include "server/server.h"

enum {
    CONNECT_TIMEOUT = 300, /* what the SDKs mean when they send none */
    RESUME_TIMEOUT = 15,
    REFRESH_MIN = 15,
    REFRESH_MAX = 3600,
    HEALTHY_MS = 3000,
};

void api_sandbox_get(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, false);
    if (sb)
        api_reply_json(r, 200, sandbox_record_detail(sb));
}

/* ---- kill ---- */

static void on_killed(struct sandbox_wait *wait, struct sandbox *sb, const struct err *err)
{
    struct api_request *r = CONTAINER_OF(wait, struct api_request, wait);
    if (err)
        api_reply_launcher_err(r, err);
    else
        api_reply_empty(r, 204);
}

void api_sandbox_delete(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, false);
    if (!sb)
        return;
    sandbox_kill(sb, "killed by request");
    sandbox_wait(sb, &r->wait, on_killed);
}

/* ---- deadlines ---- */

static void not_running(struct api_request *r, const struct sandbox *sb)
{
    api_reply_error(r, 409, "Sandbox \"%s\" is not running", sb->id);
}

void api_sandbox_timeout(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, false);
    struct err err;
    int64_t timeout;
    if (!sb)
        return;
    int rc = field_integer(r->body, "timeout", 0, (int64_t)r->server->config->max_timeout, &timeout,
                           &err);
    if (rc == 0)
        rc = err_set(&err, ERR_INVALID, 0, "\"timeout\" is missing");
    if (rc < 0) {
        api_reply_err(r, &err);
    } else if (sb->state != SANDBOX_RUNNING) {
        not_running(r, sb);
    } else {
        sandbox_set_end(sb, sandbox_end_after(sb, timeout));
        api_reply_empty(r, 204);
    }
}

/* Later only, never sooner. */
static void extend(struct sandbox *sb, int64_t timeout)
{
    int64_t end = sandbox_end_after(sb, timeout);
    if (end > sb->end)
        sandbox_set_end(sb, end);
}

void api_sandbox_refresh(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, false);
    struct err err;
    int64_t duration = 0;
    if (!sb)
        return;
    if (field_integer(r->body, "duration", 0, REFRESH_MAX, &duration, &err) < 0) {
        api_reply_err(r, &err);
    } else if (sb->state != SANDBOX_RUNNING) {
        not_running(r, sb);
    } else {
        extend(sb, duration > REFRESH_MIN ? duration : REFRESH_MIN);
        api_reply_empty(r, 204);
    }
}

/* ---- connect, resume, pause ---- */

static void on_resumed(struct sandbox_wait *wait, struct sandbox *sb, const struct err *err);

/* Brings the sandbox to RUNNING for a request that must not be answered before. */
static void wake(struct api_request *r, struct sandbox *sb)
{
    if (sb->state == SANDBOX_PAUSED)
        sandbox_resume(sb, r->timeout, r->memory);
    sandbox_wait(sb, &r->wait, on_resumed);
}

static void on_resumed(struct sandbox_wait *wait, struct sandbox *sb, const struct err *err)
{
    struct api_request *r = CONTAINER_OF(wait, struct api_request, wait);
    if (sb->state == SANDBOX_KILLING) {
        api_reply_error(r, 404, "Sandbox \"%s\" doesn't exist or you don't have access to it",
                        sb->id);
    } else if (sb->state == SANDBOX_RUNNING) { /* perhaps woken by somebody else */
        extend(sb, r->timeout);
        api_reply_json(r, 201, sandbox_record_created(sb));
    } else if (err) {
        api_reply_launcher_err(r, err);
    } else {
        wake(r, sb); /* it was about to pause */
    }
}

/* timeout and memory of connect and resume. False: answered. */
static bool read_resume(struct api_request *r, int64_t timeout)
{
    struct err err;
    r->memory = true;
    r->timeout = timeout;
    if (field_integer(r->body, "timeout", 0, (int64_t)r->server->config->max_timeout, &r->timeout,
                      &err) < 0 ||
        field_bool(r->body, "memory", &r->memory, &err) < 0) {
        api_reply_err(r, &err);
        return false;
    }
    return true;
}

void api_sandbox_connect(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, true);
    if (!sb || !read_resume(r, CONNECT_TIMEOUT))
        return;
    if (sb->state == SANDBOX_KILLING) {
        api_reply_error(r, 409, "Sandbox \"%s\" is being killed", sb->id);
    } else if (sb->state == SANDBOX_RUNNING) {
        extend(sb, r->timeout);
        api_reply_json(r, 200, sandbox_record_created(sb));
    } else {
        wake(r, sb);
    }
}

void api_sandbox_resume(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, false);
    struct err err;
    if (!sb || !read_resume(r, RESUME_TIMEOUT))
        return;
    if (sb->state == SANDBOX_RUNNING || sb->state == SANDBOX_RESUMING) {
        api_reply_error(r, 409, "Sandbox \"%s\" is already running", sb->id);
        return;
    }
    if (field_bool(r->body, "autoPause", &sb->auto_pause, &err) < 0)
        api_reply_err(r, &err);
    else
        wake(r, sb);
}

static void on_paused(struct sandbox_wait *wait, struct sandbox *sb, const struct err *err)
{
    struct api_request *r = CONTAINER_OF(wait, struct api_request, wait);
    if (sb->state == SANDBOX_KILLING)
        api_reply_error(r, 404, "Sandbox \"%s\" doesn't exist or you don't have access to it",
                        sb->id);
    else if (err)
        api_reply_launcher_err(r, err);
    else
        api_reply_empty(r, 204);
}

static void begin_pause(struct api_request *r, struct sandbox *sb)
{
    sandbox_pause(sb, r->memory, "paused by request");
    sandbox_wait(sb, &r->wait, on_paused);
}

/* Whether the agent answers, for a client that will not have a sandbox paused that hangs. */
static void on_healthy(int status, void *arg)
{
    struct api_request *r = arg;
    struct sandbox *sb = api_find_sandbox(r, false);
    r->call = NULL;
    if (!sb)
        return;
    if (status != 204)
        api_reply_error(r, 503, "Sandbox \"%s\" does not answer, and goes on", sb->id);
    else if (sb->state != SANDBOX_RUNNING)
        not_running(r, sb);
    else
        begin_pause(r, sb);
}

void api_sandbox_pause(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, false);
    struct err err;
    bool healthy = false;
    if (!sb)
        return;
    r->memory = true;
    if (field_bool(r->body, "memory", &r->memory, &err) < 0 ||
        field_bool(r->body, "requireHealthyGuest", &healthy, &err) < 0) {
        api_reply_err(r, &err);
    } else if (sb->state != SANDBOX_RUNNING) {
        api_reply_error(r, 409, "Sandbox \"%s\" is already paused or in transition", sb->id);
    } else if (!healthy) {
        begin_pause(r, sb);
    } else if (agent_call_start(r->server, sb->id, "GET", "/health", NULL, STR(""), HEALTHY_MS, on_healthy, r,
                                &r->call) < 0) {
        api_reply_error(r, 503, "Sandbox \"%s\" does not answer, and goes on", sb->id);
    }
}
