/* SPDX-License-Identifier: Apache-2.0 */
/* The routes: which handler answers a method and path, and what every RPC has in common. */
#include "agent/route.h"

#include <errno.h>

#include "agent/handlers.h"
#include "agent/users.h"
#include "base/mem.h"
#include "rpc/envelope.h"

struct http_route {
    const char *path;
    const char *method;
    agent_handler_fn *handler;
};

static const struct http_route http_routes[] = {
    {"/health", "GET", handle_health_get},   {"/envs", "GET", handle_envs_get},
    {"/metrics", "GET", handle_metrics_get}, {"/init", "POST", handle_init_post},
    {"/files", "GET", handle_files_get},     {"/files", "HEAD", handle_files_get},
    {"/files", "POST", handle_files_post},   {"/files/compose", "POST", handle_compose_post},
    {"/files/tar", "GET", handle_tar_get},   {"/files/tar", "POST", handle_tar_post},
};

/* Exactly one of the functions is set. */
struct rpc_route {
    const char *path;
    rpc_unary_fn *unary;
    rpc_async_fn *async;
    rpc_server_stream_fn *server_stream;
    rpc_client_stream_fn *client_stream;
};

static const struct rpc_route rpc_routes[] = {
    {"/process.Process/Start", .server_stream = rpc_process_start},
    {"/process.Process/Connect", .server_stream = rpc_process_connect},
    {"/process.Process/SendInput", .async = rpc_process_send_input},
    {"/process.Process/StreamInput", .client_stream = rpc_process_stream_input},
    {"/process.Process/CloseStdin", .unary = rpc_process_close_stdin},
    {"/process.Process/SendSignal", .unary = rpc_process_send_signal},
    {"/process.Process/Update", .unary = rpc_process_update},
    {"/process.Process/List", .unary = rpc_process_list},
    {"/filesystem.Filesystem/Stat", .async = rpc_filesystem_stat},
    {"/filesystem.Filesystem/ListDir", .async = rpc_filesystem_list_dir},
    {"/filesystem.Filesystem/MakeDir", .async = rpc_filesystem_make_dir},
    {"/filesystem.Filesystem/Move", .async = rpc_filesystem_move},
    {"/filesystem.Filesystem/Remove", .async = rpc_filesystem_remove},
    {"/filesystem.Filesystem/WatchDir", .server_stream = rpc_filesystem_watch_dir},
    {"/filesystem.Filesystem/CreateWatcher", .async = rpc_filesystem_create_watcher},
    {"/filesystem.Filesystem/GetWatcherEvents", .async = rpc_filesystem_get_watcher_events},
    {"/filesystem.Filesystem/RemoveWatcher", .async = rpc_filesystem_remove_watcher},
};

/* ---- what every RPC has in common ---- */

/* An RPC whose message has not come yet. */
struct rpc_pending {
    struct agent *agent;
    const struct rpc_route *route;
    struct rpc_head head;
};

static void pending_closed(struct http_exchange *x, void *arg)
{
    free(arg);
}

static const struct http_exchange_events pending_events = {.closed = pending_closed};

static int body_error(int status, struct err *err)
{
    if (status == -EMSGSIZE)
        return err_set(err, ERR_EXHAUSTED, 0, "a message is longer than %d bytes", RPC_MESSAGE_MAX);
    if (status == -ENOBUFS)
        return err_set(err, ERR_EXHAUSTED, 0, "too many large requests at once");
    return err_set(err, ERR_INVALID, 0, "the request body is cut");
}

/* A streaming call's one message out of its envelope. */
static int open_envelope(struct str body, struct str *ret, struct err *err)
{
    uint8_t flags, end_flags;
    struct str end;
    int64_t n = envelope_parse(body, RPC_MESSAGE_MAX, &flags, ret);
    if (n < 0)
        return body_error(-EMSGSIZE, err);
    if (n == 0)
        return err_set(err, ERR_INVALID, 0,
                       body.len ? "the envelope is cut" : "the request has no message");
    if (flags & ENVELOPE_COMPRESSED)
        return err_set(err, ERR_INVALID, 0,
                       "a compressed message without Connect-Content-Encoding");
    if (flags & ENVELOPE_END)
        return err_set(err, ERR_INVALID, 0, "the request has no message");
    struct str rest = {body.p + n, body.len - (size_t)n};
    if (rest.len && (envelope_parse(rest, RPC_MESSAGE_MAX, &end_flags, &end) <= 0 ||
                     !(end_flags & ENVELOPE_END)))
        return err_set(err, ERR_INVALID, 0, "the request has more than one message");
    return 0;
}

static void call(const struct rpc_route *route, struct agent *agent,
                 const struct rpc_request *request, json_t *in)
{
    json_t *out = NULL;
    struct err err;
    if (route->async) {
        route->async(agent, request, in);
    } else if (route->server_stream) {
        route->server_stream(agent, request, in);
    } else if (route->unary(agent, request, in, &out, &err) < 0) {
        rpc_respond_error(request->exchange, request->head, &err);
    } else {
        rpc_respond(request->exchange, out);
        json_decref(out);
    }
}

static void message_complete(struct rpc_pending *pending, struct http_exchange *x, int status,
                             struct str body)
{
    struct passwd_user user = {0};
    struct rpc_request request = {.exchange = x, .head = &pending->head, .user = &user};
    struct err err;
    json_t *in = NULL;
    int rc = status < 0 ? body_error(status, &err) : 0;
    if (rc == 0 && (pending->head.streaming || pending->head.grpc_web))
        rc = open_envelope(body, &body, &err);
    if (rc == 0)
        rc = agent_user(pending->agent, rpc_head_user(&pending->head), &user, &err);
    if (rc == 0)
        rc = rpc_decode_request(x, &pending->head, body, &in, &err);
    if (rc < 0)
        rpc_respond_error(x, &pending->head, &err);
    else
        call(pending->route, pending->agent, &request, in);
    json_decref(in);
    passwd_user_done(&user);
}

static void body_done(struct http_exchange *x, int status, struct str body, void *arg)
{
    struct rpc_pending *pending = arg;
    http_exchange_on(x, NULL, NULL); /* the handler may want it */
    message_complete(pending, x, status, body);
    free(pending);
}

static void call_client_stream(struct agent *agent, const struct rpc_route *route,
                               struct http_exchange *x, const struct rpc_head *head)
{
    struct passwd_user user = {0};
    struct rpc_request request = {.exchange = x, .head = head, .user = &user};
    struct err err;
    if (agent_user(agent, rpc_head_user(head), &user, &err) < 0)
        rpc_respond_error(x, head, &err);
    else
        route->client_stream(agent, &request);
    passwd_user_done(&user);
}

static void serve_rpc(struct agent *agent, const struct rpc_route *route, struct http_exchange *x)
{
    const struct http_request *http = http_exchange_request(x);
    bool streaming = route->server_stream || route->client_stream;
    struct rpc_head head;
    struct err err;
    if (!str_eqz(http->method, "POST")) {
        http_respond_header(x, "Allow", "POST");
        http_respond_error(x, 405, "an RPC is called by POST");
    } else if (!rpc_head_type(http, streaming, &head) || (head.grpc_web && route->client_stream)) {
        rpc_respond_unsupported(x, streaming); /* gRPC-Web has no streams of requests */
    } else if (rpc_head_parse(http, &head, &err) < 0) {
        rpc_respond_error(x, &head, &err);
    } else if (route->client_stream) {
        call_client_stream(agent, route, x, &head);
    } else {
        struct rpc_pending *pending = xmalloc(sizeof *pending);
        *pending = (struct rpc_pending){agent, route, head};
        http_exchange_on(x, &pending_events, pending);
        /* Room for an envelope's head, and for an end-of-stream envelope behind it. */
        http_body_collect(x, RPC_MESSAGE_MAX + (streaming || head.grpc_web ? 64 : 0), body_done, pending);
    }
}

/* ---- look-up ---- */

static void serve_http(struct agent *agent, struct http_exchange *x)
{
    const struct http_request *http = http_exchange_request(x);
    char allow[64] = "";
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(http_routes); i++) {
        const struct http_route *route = &http_routes[i];
        if (!str_eqz(http->path, route->path))
            continue;
        if (str_eqz(http->method, route->method)) {
            route->handler(agent, x);
            return;
        }
        n += (size_t)snprintf(allow + n, sizeof allow - n, "%s%s", n ? ", " : "", route->method);
    }
    if (n) {
        http_respond_header(x, "Allow", allow);
        http_respond_error(x, 405, "method not allowed");
    } else {
        http_respond_error(x, 404, "no such route: %.*s",
                           http->path.len > 256 ? 256 : (int)http->path.len, http->path.p);
    }
}

void agent_route(struct http_exchange *x, void *arg)
{
    struct agent *agent = arg;
    const struct http_request *http = http_exchange_request(x);
    if (str_eqz(http->method, "CONNECT")) {
        handle_tunnel_connect(agent, x);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(rpc_routes); i++) {
        if (str_eqz(http->path, rpc_routes[i].path)) {
            serve_rpc(agent, &rpc_routes[i], x);
            return;
        }
    }
    serve_http(agent, x);
}
