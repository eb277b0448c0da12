/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the server's own to agents. */
#include "server/agent_call.h"

#include <errno.h>

#include "base/mem.h"
#include "http/client.h"
#include "server/server.h"

struct agent_call {
    struct http_call *http;
    uv_timer_t timer;
    int status; /* 0: no head yet */
    agent_call_done_fn *done;
    void *arg;
};

static void on_head(struct http_call *http, const struct http_response *response, void *arg)
{
    struct agent_call *call = arg;
    call->status = response->status;
}

static void on_data(struct http_call *http, const char *p, size_t n, void *arg)
{
}

static void on_end(struct http_call *http, int status, void *arg)
{
    struct agent_call *call = arg;
    agent_call_done_fn *done = call->done;
    void *whose = call->arg;
    int answer = status < 0 ? status : call->status;
    agent_call_cancel(call);
    done(answer, whose);
}

static void on_silence(uv_timer_t *timer)
{
    struct agent_call *call = timer->data;
    on_end(call->http, -ETIMEDOUT, call);
}

static void on_drained(struct http_call *http, void *arg)
{
}

static const struct http_call_events events = {
    .head = on_head, .data = on_data, .end = on_end, .drained = on_drained};

int agent_call_start(struct server *server, const char *sandbox_id, const char *method,
                     const char *target, const char *content_type, struct str body,
                     uint64_t timeout_ms, agent_call_done_fn *done, void *arg,
                     struct agent_call **ret)
{
    _cleanup_free_ char *fields =
        content_type ? xasprintf("Host: agent\r\nContent-Type: %s\r\n", content_type)
                     : xstrdup("Host: agent\r\n");
    _cleanup_free_ char *path = xasprintf("%s/%s/agent.sock", server->config->run, sandbox_id);
    struct agent_call *call = xcalloc(1, sizeof *call);
    struct http_call_options options = {
        .loop = &server->loop, .socket_path = path, .events = &events, .arg = call};
    call->done = done;
    call->arg = arg;
    int rc = http_call_open(&options, str_from(method), str_from(target), str_from(fields),
                            (int64_t)body.len, &call->http);
    if (rc < 0) {
        free(call);
        return rc;
    }
    if (body.len > 0) {
        http_call_write(call->http, body.p, body.len);
        http_call_write_end(call->http);
    }
    uv_timer_init(&server->loop, &call->timer);
    call->timer.data = call;
    uv_update_time(&server->loop);
    uv_timer_start(&call->timer, on_silence, timeout_ms, 0);
    *ret = call;
    return 0;
}

static void on_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void agent_call_cancel(struct agent_call *call)
{
    if (!call)
        return;
    http_call_free(call->http);
    uv_close((uv_handle_t *)&call->timer, on_closed);
}
