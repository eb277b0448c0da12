/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent's request handlers share: the agent itself, the shapes of a handler, and the one
 * table (route.c) that maps method and path to it. The handlers are declared in handlers.h.
 *
 * Three shapes. A plain HTTP route gets the exchange and does everything itself. A unary RPC gets
 * its decoded message and returns the answer or an error; encoding, status and content type are
 * not its business. A streaming RPC gets the exchange and the decoded request head; it opens a
 * struct rpc_stream (rpc/stream.h) when it has read its message. */
#pragma once

#include <jansson.h>
#include <uv.h>

#include "agent/config.h"
#include "base/err.h"
#include "base/passwd.h"
#include "http/server.h"
#include "rpc/connect.h"

struct keep;
struct process_table;
struct metrics;
struct services;
struct watchers;

struct agent {
    uv_loop_t *loop;
    struct agent_config config; /* replaced as a whole by POST /init */
    struct http_server *server;
    struct keep *keep;
    struct process_table *processes;
    size_t stream_bytes; /* of messages of StreamInput that have not come whole, or wait */
    struct metrics *metrics;
    struct services *services;
    struct watchers *watchers; /* of the file watch service; NULL until it is first used */
};

/* Who asks, and under what conditions. Valid during the call. */
struct rpc_request {
    struct http_exchange *exchange;
    const struct rpc_head *head;
    const struct passwd_user *user; /* whom the work is done as; always there */
};

/* Answers now or later, see http/server.h. */
typedef void agent_handler_fn(struct agent *agent, struct http_exchange *x);
/* in: the message, an object, borrowed. On success returns 0 and an object in *ret_out (or leaves it
 * NULL for an empty message); otherwise a negative errno with *err set. */
typedef int rpc_unary_fn(struct agent *agent, const struct rpc_request *request, json_t *in,
                         json_t **ret_out, struct err *err);
/* The same, for calls that cannot answer at once: it answers with rpc_respond or rpc_respond_error
 * on request->exchange, once, unless the exchange closes before. */
typedef void rpc_async_fn(struct agent *agent, const struct rpc_request *request, json_t *in);
/* One request message, many answers: opens an rpc_stream on request->exchange. The body has been
 * read. */
typedef void rpc_server_stream_fn(struct agent *agent, const struct rpc_request *request,
                                  json_t *in);
/* Many request messages: reads the body of request->exchange itself. Nothing of request outlives the
 * call but the exchange. */
typedef void rpc_client_stream_fn(struct agent *agent, const struct rpc_request *request);

/* The handler of the agent's http_server: looks the request up and calls. arg is the agent. */
void agent_route(struct http_exchange *x, void *arg);
