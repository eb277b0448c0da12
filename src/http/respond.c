/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges and their responses. Small pieces are gathered and sent at the end of the turn; large
 * ones go to the socket at once and uncopied. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/json_text.h"
#include "base/mem.h"
#include "http/server-internal.h"

enum {
    DIRECT_MIN = 16 * 1024,      /* pieces from here on skip the gathering */
    FILE_TURN = 4 * 1024 * 1024, /* bytes of a file sent before others get their turn */
};

const struct http_request *http_exchange_request(const struct http_exchange *x)
{
    return &x->request;
}

void http_exchange_on(struct http_exchange *x, const struct http_exchange_events *events, void *arg)
{
    x->events = events;
    x->arg = arg;
}

void *http_exchange_arg(const struct http_exchange *x)
{
    return x->arg;
}

uv_loop_t *http_exchange_loop(const struct http_exchange *x)
{
    return x->conn->server->loop;
}

bool http_exchange_broken(const struct http_exchange *x)
{
    return x->broken;
}

void http_exchange_abort(struct http_exchange *x)
{
    x->broken = x->abort = true;
    conn_wake(x->conn);
}

/* ---- sending ---- */

bool respond_has_queued(const struct http_conn *conn)
{
    return buf_len(&conn->out) || (conn->exchange && conn->exchange->file >= 0);
}

/* Sends from the exchange's file until the socket is full. 1: all sent, 0: more, <0: broken. */
static int send_file(struct http_conn *conn, struct http_exchange *x)
{
    size_t turn = 0;
    while (x->file_left) {
        if (turn >= FILE_TURN) {
            conn_wake(conn);
            return 0;
        }
        size_t want = x->file_left > FILE_TURN ? FILE_TURN : (size_t)x->file_left;
        ssize_t sent = stream_sendfile(conn->stream, x->file, &x->file_at, want);
        if (sent == -EAGAIN)
            return 0;
        if (sent <= 0) /* an error, or the file has shrunk: the promised length cannot be kept */
            return -EIO;
        x->file_left -= sent;
        conn->taken += (uint64_t)sent;
        turn += (size_t)sent;
    }
    close(x->file);
    x->file = -1;
    return 1;
}

static void report_drained(struct http_conn *conn)
{
    struct http_exchange *x = conn->exchange;
    if (!conn->was_queued || respond_has_queued(conn))
        return;
    conn->was_queued = false;
    if (x && x->response == RESPONSE_STARTED && !x->broken && x->events && x->events->drained)
        x->events->drained(x, x->arg);
}

bool respond_flush(struct http_conn *conn)
{
    if (!conn->stream)
        return true;
    while (buf_len(&conn->out)) {
        struct iovec part = {(void *)(uintptr_t)buf_ptr(&conn->out), buf_len(&conn->out)};
        ssize_t sent = stream_write(conn->stream, &part, 1);
        if (sent == -EAGAIN)
            return true;
        if (sent < 0)
            return false;
        conn->taken += (uint64_t)sent;
        buf_consume(&conn->out, (size_t)sent);
    }
    if (conn->out.capacity > 4 * DIRECT_MIN)
        buf_done(&conn->out); /* a burst's memory is not kept by an idle connection */
    if (conn->exchange && conn->exchange->file >= 0 && send_file(conn, conn->exchange) < 0)
        return false;
    report_drained(conn);
    return true;
}

/* Puts bytes on their way: into the socket at once when they are many and nothing is before them,
 * else into the queue that the end of the turn flushes. */
static void queue(struct http_conn *conn, struct iovec *parts, int count)
{
    size_t total = 0, skip = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    if (total >= DIRECT_MIN && conn->stream && count < 4) {
        struct iovec all[5];
        int n = 0;
        size_t before = buf_len(&conn->out);
        if (before)
            all[n++] = (struct iovec){(void *)(uintptr_t)buf_ptr(&conn->out), before};
        for (int i = 0; i < count; i++)
            all[n++] = parts[i];
        ssize_t sent = stream_write(conn->stream, all, n);
        if (sent > 0) {
            conn->taken += (uint64_t)sent;
            size_t from_queue = (size_t)sent < before ? (size_t)sent : before;
            buf_consume(&conn->out, from_queue);
            skip = (size_t)sent - from_queue;
        }
    }
    for (int i = 0; i < count; i++) {
        size_t drop = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        skip -= drop;
        buf_append(&conn->out, (char *)parts[i].iov_base + drop, parts[i].iov_len - drop);
    }
    if (buf_len(&conn->out))
        conn->was_queued = true;
    conn_wake(conn);
}

/* ---- heads ---- */

/* Appends text up to the first byte that could end the line. */
static void append_clean(struct buf *b, const char *text)
{
    buf_append(b, text, strcspn(text, "\r\n"));
}

void http_respond_header(struct http_exchange *x, const char *name, const char *value)
{
    append_clean(&x->headers, name);
    buf_append_z(&x->headers, ": ");
    append_clean(&x->headers, value);
    buf_append_z(&x->headers, "\r\n");
}

void http_respond_headerf(struct http_exchange *x, const char *name, const char *fmt, ...)
{
    char value[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(value, sizeof value, fmt, args);
    va_end(args);
    http_respond_header(x, name, value);
}

void http_respond_start(struct http_exchange *x, int status, int64_t length)
{
    if (x->response != RESPONSE_NONE)
        return;
    struct http_conn *conn = x->conn;
    x->response = RESPONSE_STARTED;
    if (length == HTTP_LENGTH_CHUNKED && x->until_close)
        conn->close_after = true; /* HTTP/1.0 knows no chunks: the end is the end */
    x->length = x->remaining = length;
    if (x->body == BODY_UNREAD &&
        (x->request.expect_continue || x->request.content_length > HTTP_SKIP_MAX))
        conn->close_after = conn->linger = true;
    buf_printf(&conn->out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
    buf_append_str(&conn->out, buf_str(&x->headers));
    buf_done(&x->headers);
    if (length >= 0)
        buf_printf(&conn->out, "Content-Length: %lld\r\n", (long long)length);
    else if (length == HTTP_LENGTH_CHUNKED && !x->until_close)
        buf_append_z(&conn->out, "Transfer-Encoding: chunked\r\n");
    if (conn->close_after && !(length == HTTP_LENGTH_NONE && x->request.upgrade))
        buf_append_z(&conn->out, "Connection: close\r\n");
    buf_append_z(&conn->out, "\r\n");
    conn->was_queued = true;
    conn_wake(conn);
}

void http_respond_write(struct http_exchange *x, const void *p, size_t n)
{
    if (x->broken || x->response != RESPONSE_STARTED || n == 0)
        return;
    if (x->length >= 0) {
        if ((int64_t)n > x->remaining)
            n = (size_t)x->remaining;
        x->remaining -= (int64_t)n;
    }
    if (x->head_request || x->length == HTTP_LENGTH_NONE)
        return;
    char size[20];
    struct iovec parts[3] = {{size, 0}, {(void *)(uintptr_t)p, n}, {(void *)(uintptr_t) "\r\n", 0}};
    if (x->length == HTTP_LENGTH_CHUNKED && !x->until_close) {
        parts[0].iov_len = (size_t)snprintf(size, sizeof size, "%zx\r\n", n);
        parts[2].iov_len = 2;
    }
    queue(x->conn, parts, 3);
}

void http_respond_file(struct http_exchange *x, int fd, int64_t offset, int64_t n)
{
    if (x->broken || x->response != RESPONSE_STARTED || x->head_request || n == 0 ||
        n > x->remaining || x->file >= 0) {
        if (n <= x->remaining)
            x->remaining -= n;
        close(fd);
        return;
    }
    x->remaining -= n;
    x->file = fd;
    x->file_at = offset;
    x->file_left = n;
    x->conn->was_queued = true;
    conn_wake(x->conn);
}

void http_respond_end(struct http_exchange *x)
{
    if (x->response != RESPONSE_STARTED)
        return;
    x->response = RESPONSE_ENDED;
    if (x->length > 0 && x->remaining > 0 && !x->head_request) {
        http_exchange_abort(x); /* fewer bytes than promised: only a cut tells the truth */
        return;
    }
    if (x->length == HTTP_LENGTH_CHUNKED && !x->head_request && !x->until_close)
        buf_append_z(&x->conn->out, "0\r\n\r\n");
    conn_wake(x->conn);
}

void http_respond(struct http_exchange *x, int status, const char *type, struct str body)
{
    bool none = status == 204 || status == 304;
    if (type && !none)
        http_respond_header(x, "Content-Type", type);
    http_respond_start(x, status, none ? HTTP_LENGTH_NONE : (int64_t)body.len);
    if (!none)
        http_respond_write(x, body.p, body.len);
    http_respond_end(x);
}

static void error_body(struct buf *body, int status, const char *message)
{
    buf_init(body, 16384);
    buf_printf(body, "{\"code\":%d,\"message\":", status);
    json_text_append(body, str_from(message));
    buf_append_char(body, '}');
}

void http_respond_error(struct http_exchange *x, int status, const char *fmt, ...)
{
    char message[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    struct buf body;
    error_body(&body, status, message);
    http_respond(x, status, "application/json; charset=utf-8", buf_str(&body));
    buf_done(&body);
}

void respond_parse_error(struct http_conn *conn, int status, const char *message)
{
    struct buf body;
    error_body(&body, status, message);
    buf_printf(&conn->out,
               "HTTP/1.1 %d %s\r\nContent-Type: application/json; charset=utf-8\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n\r\n",
               status, http_reason(status), buf_len(&body));
    buf_append_str(&conn->out, buf_str(&body));
    buf_done(&body);
}

size_t http_respond_queued(const struct http_exchange *x)
{
    return buf_len(&x->conn->out) + (x->file >= 0 ? (size_t)x->file_left : 0);
}

uint64_t http_respond_taken(const struct http_exchange *x)
{
    return x->conn->taken;
}

bool http_respond_started(const struct http_exchange *x)
{
    return x->response != RESPONSE_NONE;
}

struct stream *http_exchange_take_stream(struct http_exchange *x, struct buf *ret_leftover)
{
    struct http_conn *conn = x->conn;
    *ret_leftover = conn->in;
    buf_init(&conn->in, 0);
    x->taken = true;
    struct stream *stream = TAKE_PTR(conn->stream);
    stream_watch(stream, false, false);
    conn_wake(conn);
    return stream;
}
