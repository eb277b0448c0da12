/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange relayed to a sandbox, from the checks to the last byte. */
#include "server/proxy.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/relay.h"
#include "server/access.h"
#include "server/proxy_head.h"
#include "server/proxy_reply.h"
#include "server/sandbox.h"
#include "server/sandbox_list.h"
#include "server/server.h"

enum {
    QUEUE_HIGH = 256 * 1024, /* bytes on the way to a slow side before the other is stopped */
    RETRIES = 5,             /* of connecting to a port that may be just opening */
    RETRY_STEP_MS = 100,
    RETRY_MAX_MS = 400,
};
#define IDLE_LIMIT (640 * CLOCK_S)
/* Given to a sandbox that traffic wakes, at least (protocol.md 2.3). */
enum { RESUME_TIMEOUT_MIN = 300 };

struct proxy {
    LIST_ENTRY(proxy) link; /* sandbox->proxies, while sandbox != NULL */
    struct server *server;
    struct sandbox *sandbox; /* NULL: cut, over, or waiting for it to wake */
    struct http_exchange *x; /* NULL once closed */
    struct http_call *call;
    struct relay *relay;
    struct sandbox_wait wait;
    char id[ROUTE_ID_MAX + 1];
    int port;
    int retries;
    uv_timer_t retry;
    bool retry_open;
    bool body_begun;
    bool upgrade; /* 101 sent: take the streams when the head is out */
    bool ended;   /* the answer is complete */
    int64_t last; /* monotonic time of the last byte */
};

static void attempt(struct proxy *p);

/* ---- life ---- */

static void free_timer(uv_handle_t *handle)
{
    free(handle->data);
}

static void unlink_sandbox(struct proxy *p)
{
    if (!p->sandbox)
        return;
    LIST_REMOVE(p, link);
    p->sandbox = NULL;
}

static void drop_call(struct proxy *p)
{
    http_call_free(TAKE_PTR(p->call));
}

/* Frees it once nothing can call back any more. */
static void release(struct proxy *p)
{
    if (p->x || p->relay)
        return;
    unlink_sandbox(p);
    sandbox_wait_cancel(&p->wait);
    drop_call(p);
    if (p->retry_open)
        uv_close((uv_handle_t *)&p->retry, free_timer);
    else
        free(p);
}

static void on_closed(struct http_exchange *x, void *arg)
{
    struct proxy *p = arg;
    p->x = NULL;
    release(p);
}

/* Ends it from our side. The exchange's `closed` follows. */
static void cut(struct proxy *p)
{
    unlink_sandbox(p);
    if (p->retry_open)
        uv_timer_stop(&p->retry);
    drop_call(p);
    if (p->relay) {
        relay_close(TAKE_PTR(p->relay));
        release(p);
        return;
    }
    if (!p->x)
        return;
    if (http_respond_started(p->x))
        http_exchange_abort(p->x);
    else
        proxy_reply_not_found(p->x, p->id);
}

void proxy_cut_all(struct sandbox *sandbox)
{
    struct proxy *p;
    while ((p = LIST_FIRST(&sandbox->proxies)))
        cut(p);
}

void proxy_sweep(struct server *server)
{
    int64_t now = clock_mono_ns();
    struct sandbox *sandbox;
    for (sandbox = sandbox_list_first(server->sandboxes); sandbox;
         sandbox = sandbox_list_next(sandbox)) {
        struct proxy *p, *next;
        for (p = LIST_FIRST(&sandbox->proxies); p; p = next) {
            next = LIST_NEXT(p, link);
            if (!p->relay && now - p->last > IDLE_LIMIT) /* a relay keeps its own time */
                cut(p);
        }
    }
}

static void answered(struct proxy *p)
{
    p->ended = true;
    unlink_sandbox(p);
}

/* ---- upgrade ---- */

static void on_relay_done(void *arg)
{
    struct proxy *p = arg;
    p->relay = NULL;
    release(p);
}

/* Both heads are through: from here on only bytes. */
static void take_streams(struct proxy *p)
{
    struct buf ours, theirs;
    p->upgrade = false;
    struct stream *upstream = http_call_take_stream(p->call, &theirs);
    struct stream *client = http_exchange_take_stream(p->x, &ours);
    p->relay = relay_start(client, &ours, upstream, &theirs, IDLE_LIMIT, on_relay_done, p);
    drop_call(p);
}

/* ---- request body ---- */

static void on_body_data(struct http_exchange *x, const char *bytes, size_t n, void *arg)
{
    struct proxy *p = arg;
    p->last = clock_mono_ns();
    if (!p->call)
        return;
    http_call_write(p->call, bytes, n);
    if (http_call_queued(p->call) > QUEUE_HIGH)
        http_body_pause(x);
}

static void on_body_end(struct http_exchange *x, int status, void *arg)
{
    struct proxy *p = arg;
    if (!p->call)
        return;
    if (status == 0) {
        http_call_write_end(p->call);
        return;
    }
    /* Cut or malformed: the upstream must not take what came for the whole. */
    drop_call(p);
    if (!http_respond_started(x))
        proxy_reply_error(x, 400, "the request body is cut or malformed");
    else if (!p->ended)
        http_exchange_abort(x);
    answered(p);
}

static const struct http_body_events body_events = {.data = on_body_data, .end = on_body_end};

/* Begun only when the upstream is there, so that a retry still has the whole body. */
static void begin_body(struct proxy *p)
{
    if (p->body_begun || http_exchange_request(p->x)->content_length == 0)
        return;
    p->body_begun = true;
    http_body_read(p->x, &body_events, p);
}

static void on_call_drained(struct http_call *call, void *arg)
{
    struct proxy *p = arg;
    if (!p->x)
        return;
    begin_body(p); /* the first time: the head has gone through the tunnel */
    http_body_resume(p->x);
}

/* ---- response ---- */

static void on_call_head(struct http_call *call, const struct http_response *response, void *arg)
{
    struct proxy *p = arg;
    p->last = clock_mono_ns();
    stats_answer(p->server->stats.proxied, response->status);
    if (!p->x)
        return;
    if (!proxy_head_response(p->x, response, p->port == ROUTE_AGENT_PORT)) {
        drop_call(p);
        proxy_reply(p->x, 502, p->id, "The sandbox sent a malformed response");
        answered(p);
        return;
    }
    if (response->upgrade) {
        p->upgrade = true;
        if (http_respond_queued(p->x) == 0)
            take_streams(p);
        else
            http_call_pause(call); /* what follows is no HTTP: it is kept for the relay */
    }
}

static void on_call_data(struct http_call *call, const char *bytes, size_t n, void *arg)
{
    struct proxy *p = arg;
    p->last = clock_mono_ns();
    if (!p->x)
        return;
    http_respond_write(p->x, bytes, n);
    if (http_respond_queued(p->x) > QUEUE_HIGH)
        http_call_pause(call);
}

static void on_exchange_drained(struct http_exchange *x, void *arg)
{
    struct proxy *p = arg;
    if (p->upgrade && p->call)
        take_streams(p);
    else if (p->call)
        http_call_resume(p->call);
}

static void on_retry(uv_timer_t *timer)
{
    attempt(timer->data);
}

/* Connecting failed: again a little later, or the end. */
static void retry_or_fail(struct proxy *p, int status)
{
    if (p->retries < RETRIES) {
        int pause = ++p->retries * RETRY_STEP_MS;
        if (!p->retry_open)
            uv_timer_init(&p->server->loop, &p->retry);
        p->retry_open = true;
        p->retry.data = p;
        uv_timer_start(&p->retry, on_retry, (uint64_t)(pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS),
                       0);
        return;
    }
    if (p->port != ROUTE_AGENT_PORT && status == -ECONNREFUSED)
        proxy_reply_closed_port(p->x, p->id, p->port);
    else /* not 502: that would say that the sandbox has ended */
        proxy_reply(p->x, 503, p->id, "The agent of the sandbox cannot be reached");
    answered(p);
}

static void fail_before_head(struct proxy *p, int status)
{
    if (status == -ECONNREFUSED && !p->body_begun) {
        retry_or_fail(p, status);
        return;
    }
    bool malformed = status == -EPROTO;
    if (p->port == ROUTE_AGENT_PORT)
        proxy_reply_error(p->x, 500,
                          malformed ? "the agent of the sandbox sent a malformed response"
                                    : "the agent of the sandbox closed the connection");
    else
        proxy_reply(p->x, 502, p->id,
                    malformed ? "The sandbox sent a malformed response"
                              : "The server in the sandbox closed the connection");
    answered(p);
}

static void on_call_end(struct http_call *call, int status, void *arg)
{
    struct proxy *p = arg;
    drop_call(p);
    if (!p->x)
        return;
    if (status < 0 && !http_respond_started(p->x)) {
        fail_before_head(p, status);
    } else if (status < 0) {
        http_exchange_abort(p->x);
        answered(p);
    } else {
        http_respond_end(p->x);
        answered(p);
    }
}

static const struct http_call_events call_events = {
    .head = on_call_head,
    .data = on_call_data,
    .end = on_call_end,
    .drained = on_call_drained,
};

/* ---- start ---- */

/* An API key sent here by mistake would give the sandbox power over its siblings; an application's
 * own X-API-KEY must pass. */
static bool holds_our_key(const struct proxy *p)
{
    struct str key = http_header_get(&http_exchange_request(p->x)->headers, "X-API-KEY");
    return key.p && key_ring_check(p->server->keys, key);
}

static int open_call(struct proxy *p)
{
    const struct http_request *request = http_exchange_request(p->x);
    _cleanup_free_ char *path =
        xasprintf("%s/%s/agent.sock", p->server->config->run, p->sandbox->id);
    bool direct = p->port == ROUTE_AGENT_PORT;
    struct http_call_options options = {
        .loop = &p->server->loop,
        .socket_path = path,
        .tunnel_port = direct ? 0 : p->port,
        .events = &call_events,
        .arg = p,
    };
    struct proxy_head_options head = {
        .mask_host = direct ? NULL : p->sandbox->mask_host,
        .port = p->port,
        .drop_api_key = holds_our_key(p),
    };
    struct buf fields;
    buf_init(&fields, 2 * HTTP_HEAD_BYTES_MAX);
    int rc = proxy_head_request(request, &head, &fields);
    if (rc == 0)
        rc = http_call_open(&options, request->method, request->target, buf_str(&fields),
                            request->content_length, &p->call);
    buf_done(&fields);
    if (rc == 0 && direct)
        begin_body(p);
    return rc;
}

static void attempt(struct proxy *p)
{
    int rc = open_call(p);
    if (rc < 0) {
        log_debug("agent not reachable", "id=%s error=\"%s\"", p->id, strerror(-rc));
        retry_or_fail(p, rc == -ECONNREFUSED ? -ENOTCONN : rc);
    }
}

static void begin(struct proxy *p, struct sandbox *sandbox)
{
    p->sandbox = sandbox;
    p->last = clock_mono_ns();
    LIST_INSERT_HEAD(&sandbox->proxies, p, link);
    attempt(p);
}

static void on_awake(struct sandbox_wait *wait, struct sandbox *sandbox, const struct err *err)
{
    struct proxy *p = CONTAINER_OF(wait, struct proxy, wait);
    if (!p->x)
        return;
    if (sandbox->state == SANDBOX_RUNNING) {
        begin(p, sandbox);
    } else if (sandbox->state == SANDBOX_PAUSED && sandbox_wakes(sandbox) && !err) {
        int64_t timeout = sandbox->timeout;
        sandbox_resume(sandbox, timeout > RESUME_TIMEOUT_MIN ? timeout : RESUME_TIMEOUT_MIN,
                       true);
        sandbox_wait(sandbox, wait, on_awake);
    } else if (err && sandbox_visible(sandbox)) {
        log_debug("not woken", "id=%s error=\"%s\"", p->id, err->message);
        proxy_reply(p->x, 503, p->id, "The sandbox could not be resumed");
    } else {
        proxy_reply_not_found(p->x, p->id);
    }
}

static struct proxy *new (struct server *server, struct http_exchange *x, const char *id, int port)
{
    static const struct http_exchange_events events = {.drained = on_exchange_drained,
                                                       .closed = on_closed};
    struct proxy *p = xcalloc(1, sizeof *p);
    p->server = server;
    p->x = x;
    p->port = port;
    snprintf(p->id, sizeof p->id, "%s", id);
    http_exchange_on(x, &events, p);
    return p;
}

static void refuse(struct http_exchange *x, const struct sandbox *sandbox,
                   const struct access_verdict *verdict)
{
    if (verdict->kind == ACCESS_HIDDEN)
        proxy_reply_hidden(x);
    else if (verdict->kind == ACCESS_TRAFFIC)
        proxy_reply(x, verdict->status, sandbox->id, verdict->message);
    else
        proxy_reply_error(x, verdict->status, verdict->message);
}

/* The sandbox may be asked: now, or when it has woken. */
static void pass(struct server *server, struct http_exchange *x, struct sandbox *sandbox, int port)
{
    struct proxy *p = new (server, x, sandbox->id, port);
    if (sandbox->state == SANDBOX_RUNNING) {
        begin(p, sandbox);
        return;
    }
    if (sandbox->state == SANDBOX_PAUSED) {
        int64_t timeout = sandbox->timeout;
        log_info("traffic wakes sandbox", "id=%s port=%d", sandbox->id, port);
        sandbox_resume(sandbox, timeout > RESUME_TIMEOUT_MIN ? timeout : RESUME_TIMEOUT_MIN,
                       true);
    }
    sandbox_wait(sandbox, &p->wait, on_awake);
}

void proxy_handle(struct server *server, struct http_exchange *x, const struct route *route)
{
    const struct http_request *request = http_exchange_request(x);
    struct access_verdict verdict;
    struct sandbox *sandbox;
    int port = route->kind == ROUTE_SANDBOX ? route->port : ROUTE_AGENT_PORT;

    if (route->kind == ROUTE_BAD) {
        proxy_reply_text(x, 400, route->bad);
        return;
    }
    if (str_eqz(request->method, "CONNECT")) {
        proxy_reply_text(x, 405, "CONNECT is not served");
        return;
    }
    if (port == ROUTE_AGENT_PORT && proxy_is_preflight(request)) {
        proxy_reply_preflight(x);
        return;
    }
    if (route->kind == ROUTE_SANDBOX) {
        sandbox = sandbox_list_find(server->sandboxes, route->id);
    } else {
        sandbox = access_find_signed(server->sandboxes, request, &verdict);
        if (!sandbox) {
            refuse(x, NULL, &verdict);
            return;
        }
    }
    bool asleep = sandbox && strcmp(sandbox_state_name(sandbox), "paused") == 0;
    if (!sandbox || !sandbox_visible(sandbox) || (asleep && !sandbox_wakes(sandbox))) {
        proxy_reply_not_found(x, sandbox ? sandbox->id : route->id);
        return;
    }
    verdict = access_check(sandbox, port, request, clock_wall_ns() / CLOCK_S);
    if (verdict.kind != ACCESS_ALLOWED)
        refuse(x, sandbox, &verdict);
    else if (asleep && !access_may_resume(sandbox, port, request))
        proxy_reply(x, 403, sandbox->id, "Resuming the sandbox needs its access token");
    else
        pass(server, x, sandbox, port);
}
