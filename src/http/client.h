/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 client for one request to an upstream on an AF_UNIX socket, directly or through the
 * agent's tunnel to a TCP port inside the sandbox. The upstream is hostile: its head is bounded,
 * its framing checked. One connection per call, closed afterwards. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/head.h"
#include "http/stream.h"

struct http_call;

struct http_response {
    int status;
    struct http_headers headers; /* valid during the head callback */
    int64_t content_length;      /* -1: chunked or until the end of the connection; 0: none */
    bool upgrade;                /* 101, or 2xx to CONNECT: take the stream */
};

struct http_call_events {
    /* The final response's head (1xx other than 101 are skipped). */
    void (*head)(struct http_call *call, const struct http_response *response, void *arg);
    void (*data)(struct http_call *call, const char *p, size_t n, void *arg);
    /* Over: status 0 when the response is complete, else negative errno (-ECONNREFUSED if the port
     * inside is closed, -EPROTO for malformed answers, -ECONNRESET when cut). Last callback; free
     * with http_call_free inside or after it. Never called from inside http_call_open. */
    void (*end)(struct http_call *call, int status, void *arg);
    /* Request bytes all taken by the socket. */
    void (*drained)(struct http_call *call, void *arg);
};

struct http_call_options {
    uv_loop_t *loop;
    const char *socket_path; /* agent.sock */
    int tunnel_port;         /* 0: speak to the agent; else CONNECT to this port first */
    const struct http_call_events *events;
    void *arg;
};

/* Opens the connection and sends the head: the request line, `head_fields` (complete lines, each
 * ending in CRLF, without framing fields) and the framing for body_length (>= 0, or -1 for chunked;
 * 0 sends no body and, for methods that usually have none, no length field). 0 or -errno (nothing
 * called back then). */
int http_call_open(const struct http_call_options *options, struct str method, struct str target,
                   struct str head_fields, int64_t body_length, struct http_call **ret);
void http_call_write(struct http_call *call, const void *p, size_t n);
void http_call_write_end(struct http_call *call);
size_t http_call_queued(const struct http_call *call);
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
/* After a head with upgrade == true: raw stream and bytes beyond the head. The call stays to be
 * freed; no more callbacks. */
struct stream *http_call_take_stream(struct http_call *call, struct buf *ret_leftover);
/* Ends it at any time, without a callback. NULL is fine. */
void http_call_free(struct http_call *call);
