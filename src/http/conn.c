/* SPDX-License-Identifier: Apache-2.0 */
/* One server connection: reading, parsing, and the order of things. All decisions fall in
 * conn_settle, which runs once at the end of a turn in which anything happened, so that no callback
 * of a handler is ever called from inside one of its own calls. */
#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/server-internal.h"

enum {
    IN_MAX = 64 * 1024, /* pipelined bytes held while a request is being answered */
};
#define LINGER_NS INT64_C(30000000000)

static void settle(struct http_conn *conn);

static void run_task(struct http_task *task)
{
    settle(CONTAINER_OF(task, struct http_conn, task));
}

void conn_wake(struct http_conn *conn)
{
    if (!conn->closing)
        http_loop_defer(conn->server->loop, &conn->task);
}

bool conn_idle(const struct http_conn *conn)
{
    return !conn->exchange;
}

/* ---- timers ---- */

static void on_timeout(uv_timer_t *timer)
{
    struct http_conn *conn = timer->data;
    if (conn_idle(conn))
        conn_close(conn);
}

static void start_timer(struct http_conn *conn, int64_t ns)
{
    if (ns > 0)
        uv_timer_start(&conn->timer, on_timeout, (uint64_t)(ns / 1000000) + 1, 0);
    else
        uv_timer_stop(&conn->timer);
}

/* A request may be on its way, and who sends it must not find the connection closed: one that has not
 * had any is sure to have sent one or to be about to. */
enum { STOP_FRESH_MS = 3000, STOP_USED_MS = 100 };

void conn_stop(struct http_conn *conn)
{
    if (conn_idle(conn)) {
        bool fresh = !conn->served || conn->head_begun;
        uv_update_time(conn->server->loop);
        start_timer(conn, (fresh ? STOP_FRESH_MS : STOP_USED_MS) * INT64_C(1000000));
    } else {
        conn->close_after = true;
    }
}

/* ---- end of exchange and connection ---- */

static void exchange_over(struct http_conn *conn)
{
    struct http_exchange *x = conn->exchange;
    conn->exchange = NULL;
    if (x->events && x->events->closed)
        x->events->closed(x, x->arg);
    body_done(x);
    if (x->file >= 0)
        close(x->file);
    buf_done(&x->headers);
    free(x);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct http_conn *conn = handle->data;
    struct http_server *server = conn->server;
    parser_free(conn->parser);
    buf_done(&conn->in);
    buf_done(&conn->out);
    free(conn);
    server_conn_gone(server);
}

void conn_close(struct http_conn *conn)
{
    if (conn->closing)
        return;
    conn->closing = true;
    http_loop_cancel(conn->server->loop, &conn->task);
    /* A response cut in the middle must not look like one that ended: clients tell "the server
     * closed" from "the connection broke", and act on it (the SDKs then ask for /health). */
    bool cut = conn->exchange && conn->exchange->abort;
    if (conn->exchange) {
        conn->exchange->broken = true;
        exchange_over(conn);
    }
    if (conn->stream && cut)
        stream_reset(TAKE_PTR(conn->stream));
    else if (conn->stream)
        stream_close(TAKE_PTR(conn->stream));
    TAILQ_REMOVE(&conn->server->conns, conn, link);
    uv_close((uv_handle_t *)&conn->timer, on_timer_closed);
}

/* ---- requests ---- */

static bool on_body(const char *p, size_t n, void *arg)
{
    struct http_conn *conn = arg;
    return body_piece(conn->exchange, p, n);
}

/* "http://host/path" becomes "/path"; CONNECT's host:port and "*" stay. */
static struct str origin_form(struct str target)
{
    size_t scheme = str_find(target, ':');
    if (target.len == 0 || target.p[0] == '/' || scheme + 2 >= target.len ||
        memcmp(target.p + scheme, "://", 3) != 0)
        return target;
    struct str rest = {target.p + scheme + 3, target.len - scheme - 3};
    size_t end = str_find(rest, '/'), query = str_find(rest, '?');
    if (query < end)
        end = query; /* no path, which no route has */
    if (end == rest.len)
        return STR("/");
    return (struct str){rest.p + end, rest.len - end};
}

static void fill_request(struct http_conn *conn, struct http_request *r)
{
    const llhttp_t *http = &conn->parser->http;
    r->method = str_from(llhttp_method_name(http->method));
    r->target = origin_form(parser_url(conn->parser));
    r->query = r->target;
    str_split(&r->query, '?', &r->path);
    if (!r->query.p)
        r->query = STR("");
    r->headers = parser_headers(conn->parser);
    r->content_length = parser_content_length(conn->parser);
    r->upgrade = http->upgrade;
    r->keep_alive = llhttp_should_keep_alive(http);
    r->expect_continue = http_header_has_token(&r->headers, "Expect", "100-continue");
}

static void begin_exchange(struct http_conn *conn)
{
    struct http_exchange *x = xcalloc(1, sizeof *x);
    x->conn = conn;
    x->file = -1;
    buf_init(&x->headers, HTTP_HEAD_BYTES_MAX);
    fill_request(conn, &x->request);
    x->until_close = conn->parser->http.http_major == 1 && conn->parser->http.http_minor == 0;
    x->head_request = str_eq(x->request.method, STR("HEAD"));
    conn->exchange = x;
    conn->served = true;
    if (!x->request.keep_alive || conn->server->stopping)
        conn->close_after = true;
    uv_timer_stop(&conn->timer);
    conn->server->options.handler(x, conn->server->options.arg);
}

static bool wants_bytes(const struct http_conn *conn)
{
    if (!conn->exchange)
        return true;
    return conn->exchange->body == BODY_READING || conn->exchange->body == BODY_SKIPPING;
}

/* Handles what the parser stopped at. False: the connection is to be closed. */
static bool parsed(struct http_conn *conn, enum parser_stop stop)
{
    switch (stop) {
    case PARSER_MORE:
    case PARSER_PAUSED:
        return true;
    case PARSER_HEAD:
        begin_exchange(conn);
        return true;
    case PARSER_MESSAGE:
    case PARSER_UPGRADE:
        if (conn->exchange->body != BODY_DONE)
            body_ended(conn->exchange, 0);
        return true;
    case PARSER_ERROR:
    case PARSER_TOO_LARGE:
        break;
    }
    conn->close_after = conn->linger = true;
    if (conn->exchange) { /* the body is malformed; its reader may still answer */
        body_ended(conn->exchange, -EPROTO);
        return true;
    }
    respond_parse_error(conn, stop == PARSER_TOO_LARGE ? 431 : 400,
                        stop == PARSER_TOO_LARGE ? "request head is larger than 64 KiB or has more "
                                                   "than 128 fields"
                                                 : parser_error(conn->parser));
    return false;
}

/* Parses from p as long as somebody wants it; the rest is kept in conn->in. False: close. */
static bool feed(struct http_conn *conn, const char *p, size_t n)
{
    bool ok = true;
    for (;;) {
        size_t used = 0;
        bool at_end_of_body = false;
        if (!wants_bytes(conn) || conn->closing)
            break;
        enum parser_stop stop = parser_feed(conn->parser, p, n, &used);
        p += used;
        n -= used;
        at_end_of_body = stop == PARSER_MESSAGE || stop == PARSER_UPGRADE;
        ok = parsed(conn, stop);
        if (!ok || stop == PARSER_MORE || at_end_of_body)
            break;
    }
    if (ok && n && buf_append(&conn->in, p, n) < 0)
        ok = false;
    return ok;
}

static bool feed_kept(struct http_conn *conn)
{
    struct buf kept = conn->in;
    if (buf_len(&kept) == 0 && !conn->exchange)
        return true;
    buf_init(&conn->in, IN_MAX * 8);
    bool ok = feed(conn, kept.data ? buf_ptr(&kept) : "", buf_len(&kept));
    buf_done(&kept);
    return ok;
}

/* The peer sends no more: an idle connection ends, a body is cut, a client waiting for its answer
 * counts as gone. */
static void peer_ended(struct http_conn *conn)
{
    conn->eof = true;
    struct http_exchange *x = conn->exchange;
    if (!x)
        return;
    if (x->body == BODY_READING || x->body == BODY_PAUSED)
        body_ended(x, -ECONNRESET);
    x->broken = x->abort = true;
}

static void read_some(struct http_conn *conn)
{
    size_t size;
    char *scratch = http_loop_scratch(conn->server->loop, &size);
    ssize_t got = stream_read(conn->stream, scratch, size);
    if (got == -EAGAIN)
        return;
    if (got <= 0) {
        peer_ended(conn);
        return;
    }
    if (conn->lingering)
        return;
    if (!conn->exchange && !conn->head_begun) {
        conn->head_begun = true;
        start_timer(conn, conn->server->options.head_ns);
    }
    bool ok = buf_len(&conn->in) ? buf_append(&conn->in, scratch, (size_t)got) == 0 && feed_kept(conn)
                                 : feed(conn, scratch, (size_t)got);
    if (!ok)
        conn->close_after = true;
}

/* ---- the turn's end ---- */

/* After an exchange: takes the connection to the next request. */
static void next_request(struct http_conn *conn)
{
    parser_reset(conn->parser);
    conn->head_begun = false;
    start_timer(conn, conn->server->options.idle_ns);
}

/* An answered request whose body was not read: throw away a little, close for more. */
static void skip_body(struct http_conn *conn)
{
    struct http_exchange *x = conn->exchange;
    if (x->request.content_length > HTTP_SKIP_MAX || x->request.expect_continue)
        conn->close_after = conn->linger = true;
    x->body = BODY_SKIPPING;
}

/* Closing while bytes of the peer are unread resets the connection and may destroy the answer on
 * its way. So: end our side, let the peer read, throw away what comes, for a short time. */
static void close_gently(struct http_conn *conn)
{
    if (conn->linger && !conn->lingering && !conn->eof && !conn->server->closing) {
        conn->lingering = true;
        stream_shutdown_write(conn->stream);
        start_timer(conn, LINGER_NS);
    } else if (!conn->lingering || conn->eof || conn->server->closing) {
        conn_close(conn);
    }
}

static bool response_sent(const struct http_exchange *x)
{
    return x->response == RESPONSE_ENDED && !respond_has_queued(x->conn);
}

/* What to hear of next. While a request is answered its connection is read only to notice the
 * peer's going, up to IN_MAX of pipelined bytes. */
static void watch(struct http_conn *conn)
{
    struct http_exchange *x = conn->exchange;
    bool readable = !conn->eof && (wants_bytes(conn) || buf_len(&conn->in) < IN_MAX);
    if (x && (x->body == BODY_PAUSED || x->body == BODY_UNREAD) && x->request.content_length != 0)
        readable = false; /* back-pressure: the rest of the body stays in the socket */
    stream_watch(conn->stream, readable, respond_has_queued(conn));
}

/* One step; true when another may follow at once. */
static bool step(struct http_conn *conn)
{
    struct http_exchange *x = conn->exchange;
    if (!respond_flush(conn) || (x && x->abort)) {
        conn_close(conn);
        return false;
    }
    if (!x) {
        if ((conn->eof || conn->close_after) && !respond_has_queued(conn)) {
            close_gently(conn);
            return false;
        }
        if (buf_len(&conn->in) == 0 || conn->close_after)
            return false;
        if (!feed_kept(conn))
            conn->close_after = true;
        return conn->exchange || conn->close_after;
    }
    if (x->taken) {
        conn_close(conn);
        return false;
    }
    if (x->body == BODY_UNREAD && x->request.content_length == 0)
        x->body = BODY_DONE;
    if (x->response == RESPONSE_ENDED && x->body != BODY_DONE && x->body != BODY_SKIPPING) {
        skip_body(conn);
        if (!feed_kept(conn))
            conn->close_after = true;
        return true;
    }
    if (response_sent(x) && (x->body == BODY_DONE || conn->close_after)) {
        exchange_over(conn);
        next_request(conn);
        return true;
    }
    if (wants_bytes(conn) && (buf_len(&conn->in) || conn->poke)) {
        conn->poke = false;
        if (!feed_kept(conn))
            conn->close_after = true;
        return true;
    }
    return false;
}

static void settle(struct http_conn *conn)
{
    if (conn->settling)
        return;
    conn->settling = true;
    while (!conn->closing && step(conn))
        ;
    conn->settling = false;
    if (!conn->closing)
        watch(conn);
}

static void on_ready(struct stream *s, bool readable, bool writable, void *arg)
{
    struct http_conn *conn = arg;
    if (readable)
        read_some(conn);
    settle(conn);
}

void conn_open(struct http_server *server, struct stream *stream)
{
    struct http_conn *conn = xcalloc(1, sizeof *conn);
    stream_set_owner(stream, on_ready, conn);
    conn->stream = stream;
    conn->server = server;
    conn->parser = parser_new(HTTP_REQUEST, on_body, conn);
    conn->task.run = run_task;
    buf_init(&conn->in, IN_MAX * 8);
    buf_init(&conn->out, SIZE_MAX / 4);
    uv_timer_init(server->loop, &conn->timer);
    conn->timer.data = conn;
    TAILQ_INSERT_TAIL(&server->conns, conn, link);
    server->conn_count++;
    start_timer(conn, server->options.head_ns ? server->options.head_ns : server->options.idle_ns);
    stream_watch(conn->stream, true, false);
}
