/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 server on a libuv loop; with an edge (edge.h), TLS and HTTP/2 too.
 *
 * A handler is called once per request, when the head is complete. It may answer at once or later.
 * Bodies are pulled: nothing of the body is read from the socket until http_body_read, and reading
 * stops while paused. Response bytes go straight to the socket; what it does not take is kept, and
 * the handler sees by http_respond_queued() that it should wait for `drained`. No queue grows
 * without the handler's doing.
 *
 * An exchange lives until its response has ended and its request body has been read or skipped, or
 * the connection broke. `closed` is the last callback, always called exactly once; after it the
 * exchange must not be touched. The same holds for http_exchange_abort: it leads to `closed`, later
 * in the same loop turn, never from inside the call. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/head.h"
#include "http/stream.h"

struct http_server;
struct http_exchange;

typedef void http_handler_fn(struct http_exchange *x, void *arg);

struct http_server_options {
    http_handler_fn *handler;
    void *arg;
    struct http_edge *edge; /* edge.h: what else than plain HTTP/1.1 is spoken; NULL: nothing */
    int64_t idle_ns; /* close a connection that rests between requests this long; 0: never */
    int64_t head_ns; /* time for a whole head to arrive; 0: no limit */
    unsigned max_connections; /* above it new ones wait in the backlog; 0: no limit */
    size_t max_collected;     /* bytes of bodies collected at once, of all connections; 0: no limit */
};

/* Serves a listening socket (taken over; made non-blocking). Ignores SIGPIPE in the whole process.
 * 0 or -errno. */
int http_server_open(uv_loop_t *loop, int listen_fd, const struct http_server_options *options,
                     struct http_server **ret);
/* Stops accepting and closes connections that are idle; busy ones end after their response. */
void http_server_stop(struct http_server *server);
/* Closes everything, cutting what runs; `closed` callbacks follow. Frees the server in the end. */
void http_server_close(struct http_server *server);
unsigned http_server_connections(const struct http_server *server);
/* Bytes of responses that wait for their sockets. Looks at every connection. */
size_t http_server_queued(const struct http_server *server);

/* What the handler wants to hear of. Any may be NULL. */
struct http_exchange_events {
    void (*drained)(struct http_exchange *x, void *arg); /* queued bytes fell to zero */
    void (*closed)(struct http_exchange *x, void *arg);  /* over: completed, aborted or peer gone */
};

const struct http_request *http_exchange_request(const struct http_exchange *x);
void http_exchange_on(struct http_exchange *x, const struct http_exchange_events *events,
                      void *arg);
/* The arg given to http_exchange_on. */
void *http_exchange_arg(const struct http_exchange *x);
uv_loop_t *http_exchange_loop(const struct http_exchange *x);
/* True once the peer has gone or the exchange was aborted: writes are then ignored. */
bool http_exchange_broken(const struct http_exchange *x);
/* Cuts the connection: the peer sees a broken response, not an orderly end. */
void http_exchange_abort(struct http_exchange *x);

/* ---- request body ---- */
struct http_body_events {
    void (*data)(struct http_exchange *x, const char *p, size_t n, void *arg);
    /* All of the body came (status 0), or it is cut or malformed (negative errno). Not called after
     * `closed`. */
    void (*end)(struct http_exchange *x, int status, void *arg);
};
/* Begins reading. Sends "100 Continue" when the client waits for it. A request without a body gets
 * `end` from inside this call. */
void http_body_read(struct http_exchange *x, const struct http_body_events *events, void *arg);
/* May be called inside `data`: the rest of what was received is held back. */
void http_body_pause(struct http_exchange *x);
void http_body_resume(struct http_exchange *x);

/* Collects the whole body, at most max bytes, then calls done once: status 0 and the bytes (valid
 * during the call), -EMSGSIZE if it is longer, -ENOBUFS if all that are being collected would be more
 * than max_collected, or a negative errno if it was cut. Not called if the
 * exchange closes first. */
typedef void http_body_done_fn(struct http_exchange *x, int status, struct str body, void *arg);
void http_body_collect(struct http_exchange *x, size_t max, http_body_done_fn *done, void *arg);

/* ---- response ---- */
/* Adds a field to the response to come. Name and value are copied; CR, LF and NUL in them end the
 * value. */
void http_respond_header(struct http_exchange *x, const char *name, const char *value);
void http_respond_headerf(struct http_exchange *x, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Whole response in one go, Content-Length included (left out for 204 and 304). */
void http_respond(struct http_exchange *x, int status, const char *type, struct str body);
/* {"code":status,"message":"..."} as application/json: the error shape of every route that is not
 * Connect (protocol.md 2.1, 3.1). */
void http_respond_error(struct http_exchange *x, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

enum { HTTP_LENGTH_CHUNKED = -1, HTTP_LENGTH_NONE = -2 };
/* Head of a streamed response: length >= 0, HTTP_LENGTH_CHUNKED, or HTTP_LENGTH_NONE (no body and
 * no length field: 101, 204, 304, or a 2xx to CONNECT). For HEAD requests the body is dropped. */
void http_respond_start(struct http_exchange *x, int status, int64_t length);
/* One piece; with chunked framing each call is one chunk, sent at once. */
void http_respond_write(struct http_exchange *x, const void *p, size_t n);
/* Sends n bytes of a file from offset; the descriptor is taken over and closed when sent. Only with
 * a known length, and nothing else may be written until `drained`. */
void http_respond_file(struct http_exchange *x, int fd, int64_t offset, int64_t n);
void http_respond_end(struct http_exchange *x);
/* Bytes accepted by http_respond_write that the socket has not taken yet. Also inside `closed`, for
 * the bytes that it never took. */
size_t http_respond_queued(const struct http_exchange *x);
/* Bytes of the connection that the socket has taken, framing included: what is written next will be
 * taken when this has grown by what http_respond_queued says after the write. Also inside `closed`. */
uint64_t http_respond_taken(const struct http_exchange *x);
bool http_respond_started(const struct http_exchange *x);

/* For CONNECT and upgrades, after http_respond_start(…, HTTP_LENGTH_NONE): takes the raw stream and
 * the bytes received beyond the head (moved into *ret_leftover) out of HTTP. Call it only when
 * http_respond_queued() is 0 (wait for `drained` otherwise). `closed` follows. */
struct stream *http_exchange_take_stream(struct http_exchange *x, struct buf *ret_leftover);
