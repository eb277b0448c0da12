/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP without TLS: one request a connection. Its head is read and written anew, so that the server
 * sees the host that was checked; then its body passes; the answer passes unread, and ends the
 * connection, so that there is no second request to be checked. Clients open another one.
 *
 * A request to become a WebSocket is raw once the server has agreed (101), not before. */
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "egress/http_head.h"
#include "egress/session-internal.h"
#include "http/loop.h"
#include "http/parser.h"

enum {
    HELD_MAX = HTTP_HEAD_BYTES_MAX + 2 * 1024 * 1024, /* the head and what one read brings */
    REST_MS = 10 * 60 * 1000,                         /* without a byte from either side */
    STATUS_BYTES = 12,                                /* "HTTP/1.1 101" */
};

struct http_side {
    struct parser *parser;
    struct http_want want;
    bool chunked;
    bool request_done; /* all of it is in s->held, or sent */
    bool client_ended; /* sends no more */
    bool upstream_ended;
    bool status_known; /* of the answer: upgrade or not has been decided */
    struct buf out;    /* from upstream, for the client */
};

void http_session_free(struct http_side *http)
{
    if (!http)
        return;
    parser_free(http->parser);
    buf_done(&http->out);
    free(http);
}

/* ---- the request ---- */

static bool on_body(const char *p, size_t n, void *arg)
{
    struct session *s = arg;
    /* The room is checked before the parser is fed: a piece is never larger than what was read, and
     * its framing is small. */
    int rc = s->http->chunked ? buf_printf(&s->held, "%zx\r\n", n) : 0;
    if (rc == 0)
        rc = buf_append(&s->held, p, n);
    if (rc == 0 && s->http->chunked)
        rc = buf_append_z(&s->held, "\r\n");
    return rc == 0;
}

static void take_head(struct session *s)
{
    struct http_side *http = s->http;
    struct http_headers headers = parser_headers(http->parser);
    struct str host = STR("");
    const llhttp_t *parsed = &http->parser->http;
    const char *method = llhttp_method_name((llhttp_method_t)parsed->method);
    unsigned version = 10u * parsed->http_major + parsed->http_minor;
    int64_t length = parser_content_length(http->parser);
    const char *why = http_head_rewrite(str_from(method), parser_url(http->parser), version,
                                        &headers, length, &s->held, &http->want, &host);
    http->chunked = length < 0;
    if (why) {
        buf_clear(&s->held);
        session_refuse(s, host, why);
        return;
    }
    stream_watch(s->client, false, false);
    session_want(s, http->want.name);
}

static void end_request(struct session *s)
{
    s->http->request_done = true;
    if (s->http->chunked && buf_append_z(&s->held, "0\r\n\r\n") < 0)
        session_cut(s);
}

/* Bytes of the client's. Behind the end of the request they count for nothing. */
static void feed(struct session *s, const char *bytes, size_t n)
{
    struct http_side *http = s->http;
    /* Also without bytes, since an empty body is complete with its head. */
    for (bool more = true; more && !http->request_done;) {
        size_t used = 0;
        enum parser_stop stop = parser_feed(http->parser, bytes, n, &used);
        bytes += used;
        n -= used;
        switch (stop) {
        case PARSER_HEAD:
            take_head(s);
            more = s->state != SESSION_LINGERING && s->state != SESSION_CLOSED;
            break;
        case PARSER_MESSAGE:
        case PARSER_UPGRADE:
            end_request(s);
            break;
        case PARSER_MORE:
            more = false;
            break;
        case PARSER_PAUSED: /* no room, which there was */
        case PARSER_ERROR:
        case PARSER_TOO_LARGE:
            if (s->state == SESSION_READING)
                session_refuse(s, STR(""),
                               stop == PARSER_TOO_LARGE ? "head too large" : "not HTTP/1.1");
            else
                session_cut(s);
            more = false;
            break;
        }
    }
}

/* ---- passing ---- */

static void watch(struct session *s)
{
    struct http_side *http = s->http;
    bool raw_pending = http->want.upgrade && !http->status_known;
    bool read_client = !http->client_ended && buf_len(&s->held) == 0 && !raw_pending;
    stream_watch(s->client, read_client, buf_len(&http->out) > 0 && http->status_known);
    if (s->upstream)
        stream_watch(s->upstream, !http->upstream_ended && buf_len(&http->out) < STATUS_BYTES,
                     buf_len(&s->held) > 0);
}

/* Writes as much as is taken. False: broken. */
static bool write_out(struct stream *to, struct buf *from)
{
    while (buf_len(from)) {
        struct iovec part = {(void *)(uintptr_t)buf_ptr(from), buf_len(from)};
        ssize_t sent = stream_write(to, &part, 1);
        if (sent == -EAGAIN)
            return true;
        if (sent < 0)
            return false;
        buf_consume(from, (size_t)sent);
    }
    if (from->capacity)
        buf_done(from);
    return true;
}

/* The first bytes of the answer say whether this becomes a WebSocket. */
static void learn_status(struct session *s)
{
    struct http_side *http = s->http;
    if (http->status_known || (buf_len(&http->out) < STATUS_BYTES && !http->upstream_ended))
        return;
    http->status_known = true;
    if (http->want.upgrade && buf_len(&http->out) >= STATUS_BYTES &&
        memcmp(buf_ptr(&http->out), "HTTP/1.1 101", STATUS_BYTES) == 0)
        session_relay(s, &http->out);
}

static void settle(struct session *s)
{
    struct http_side *http = s->http;
    learn_status(s);
    if (s->relay)
        return;
    if (!write_out(s->upstream, &s->held) ||
        (http->status_known && !write_out(s->client, &http->out))) {
        session_cut(s);
        return;
    }
    if (http->upstream_ended && buf_len(&http->out) == 0)
        session_linger(s);
    else
        watch(s);
}

static void read_client(struct session *s)
{
    size_t size;
    char *scratch = http_loop_scratch(&s->egress->loop, &size);
    ssize_t n = stream_read(s->client, scratch, size);
    if (n == -EAGAIN)
        return;
    if (n < 0 || (n == 0 && !s->http->request_done)) {
        session_cut(s);
        return;
    }
    if (n == 0)
        s->http->client_ended = true;
    else
        feed(s, scratch, (size_t)n);
}

static void read_upstream(struct session *s)
{
    size_t size;
    char *scratch = http_loop_scratch(&s->egress->loop, &size);
    ssize_t n = stream_read(s->upstream, scratch, size);
    if (n == -EAGAIN)
        return;
    if (n < 0)
        session_cut(s); /* an answer that breaks off must look like one */
    else if (n == 0)
        s->http->upstream_ended = true;
    else if (buf_append(&s->http->out, scratch, (size_t)n) < 0)
        session_cut(s);
}

static void on_ready(struct stream *stream, bool readable, bool writable, void *arg)
{
    struct session *s = arg;
    session_deadline(s, REST_MS);
    if (readable && stream == s->client)
        read_client(s);
    else if (readable)
        read_upstream(s);
    if (s->state == SESSION_PASSING)
        settle(s);
}

/* Before there is an upstream only the client speaks. */
static void on_head(struct stream *stream, bool readable, bool writable, void *arg)
{
    read_client(arg);
}

void http_session_begin(struct session *s)
{
    s->http = xcalloc(1, sizeof *s->http);
    s->http->parser = parser_new(HTTP_REQUEST, on_body, s);
    buf_init(&s->held, HELD_MAX);
    buf_init(&s->http->out, HELD_MAX);
    stream_set_owner(s->client, on_head, s);
    stream_watch(s->client, true, false);
}

void http_session_connected(struct session *s)
{
    stream_set_owner(s->client, on_ready, s);
    stream_set_owner(s->upstream, on_ready, s);
    session_deadline(s, REST_MS);
    settle(s);
}

void http_session_refuse(struct session *s, const char *why)
{
    char body[512], head[256];
    int n =
        snprintf(body, sizeof body,
                 "The network policy of this sandbox does not let this request out: %s.\n", why);
    int m = snprintf(head, sizeof head,
                     "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                     "Connection: close\r\n\r\n",
                     n);
    struct iovec parts[] = {{head, (size_t)m}, {body, (size_t)n}};
    stream_write(s->client, parts, 2);
}
