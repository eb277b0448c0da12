/* SPDX-License-Identifier: Apache-2.0 */
/* One request of HTTP/2 as a connection of HTTP/1.1: its text is written here for the server to
 * read, and the server's is read here for nghttp2 to send. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/h2-internal.h"

enum {
    OUT_MAX = 256 * 1024, /* of a response's body held here */
    CHUNK_ROOM = 32,      /* around a chunk: its size in hex, and ends of lines */
    FILE_PIECE = 32 * 1024,
};

static struct h2_stream *of(struct stream *s)
{
    return (struct h2_stream *)s;
}

/* ---- life ---- */

static void free_if_over(struct h2_stream *s)
{
    if (!s->reset || !s->abandoned)
        return;
    struct h2 *h2 = s->h2;
    struct buf *const bufs[] = {&s->fields, &s->cookie, &s->method, &s->path, &s->authority,
                                &s->host,   &s->head,   &s->body,   &s->out};
    for (size_t i = 0; i < ARRAY_SIZE(bufs); i++)
        buf_done(bufs[i]);
    parser_free(s->parser);
    http_loop_cancel(s->base.loop, &s->task);
    free(s);
    h2_stream_freed(h2);
}

static bool readable(const struct h2_stream *s)
{
    return buf_len(&s->head) || buf_len(&s->body) || s->reset || (s->body_ended && !s->told_end) ||
           (s->response_ended && s->told_end);
}

static bool writable(const struct h2_stream *s)
{
    return s->reset || buf_len(&s->out) < OUT_MAX;
}

static void tell(struct h2_stream *s)
{
    if ((s->want_read && readable(s)) || (s->want_write && writable(s)))
        http_loop_defer(s->base.loop, &s->task);
}

static void run_task(struct http_task *task)
{
    struct h2_stream *s = CONTAINER_OF(task, struct h2_stream, task);
    bool r = s->want_read && readable(s), w = s->want_write && writable(s);
    if (!s->abandoned && (r || w))
        s->base.ready(&s->base, r, w, s->base.arg);
}

/* ---- request: from nghttp2 ---- */

static bool printable(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.p[i] <= ' ' || text.p[i] == 0x7f)
            return false;
    return text.len > 0;
}

static int keep(struct h2_stream *s, struct buf *to, struct str value)
{
    if (!printable(value))
        s->bad = true;
    return buf_append_str(to, value);
}

static int add_line(struct h2_stream *s, struct str name, struct str value)
{
    return buf_printf(&s->fields, "%.*s: %.*s\r\n", STR_ARG(name), STR_ARG(value));
}

int h2_stream_field(struct h2_stream *s, struct str name, struct str value)
{
    int r = 0;
    if (str_eqz(name, ":method"))
        r = keep(s, &s->method, value);
    else if (str_eqz(name, ":path"))
        r = keep(s, &s->path, value);
    else if (str_eqz(name, ":authority"))
        r = keep(s, &s->authority, value);
    else if (str_eqz(name, ":scheme"))
        r = 0;
    else if (str_starts(name, STR(":")) || str_eqz(name, "te"))
        s->bad |= name.p[0] == ':';
    else if (str_eqz(name, "host"))
        r = keep(s, &s->host, value);
    else if (str_eqz(name, "cookie")) /* sent in pieces (RFC 9113, 8.2.3) */
        r = buf_printf(&s->cookie, "%s%.*s", buf_len(&s->cookie) ? "; " : "", STR_ARG(value));
    else
        r = add_line(s, name, value);
    if (str_eqz(name, "content-length"))
        s->has_length = true;
    return r < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static int write_head(struct h2_stream *s, bool ended)
{
    struct buf *head = &s->head;
    struct str host = buf_len(&s->authority) ? buf_str(&s->authority) : buf_str(&s->host);
    s->chunked = !ended && !s->has_length;
    int r = buf_printf(head, "%.*s %.*s HTTP/1.1\r\nHost: %.*s\r\n", STR_ARG(buf_str(&s->method)),
                       STR_ARG(buf_str(&s->path)), STR_ARG(host));
    r = r < 0 ? r : buf_append_str(head, buf_str(&s->fields));
    if (buf_len(&s->cookie))
        r = r < 0 ? r : buf_printf(head, "Cookie: %.*s\r\n", STR_ARG(buf_str(&s->cookie)));
    if (s->chunked)
        r = r < 0 ? r : buf_append_z(head, "Transfer-Encoding: chunked\r\n");
    return r < 0 ? r : buf_append_z(head, "\r\n");
}

void h2_stream_begin(struct h2_stream *s, bool ended)
{
    struct buf *const bufs[] = {&s->fields, &s->cookie,    &s->method,
                                &s->path,   &s->authority, &s->host};
    bool connect = str_eqz(buf_str(&s->method), "CONNECT");
    s->head_request = str_eqz(buf_str(&s->method), "HEAD");
    if (s->bad || connect || write_head(s, ended) < 0) {
        nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_REFUSED_STREAM);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(bufs); i++)
        buf_done(bufs[i]);
    s->body_ended = ended;
    s->told_end = ended;
    s->abandoned = false;
    conn_open(s->h2->server, &s->base);
}

void h2_stream_data(struct h2_stream *s, const uint8_t *p, size_t n)
{
    if (s->abandoned || buf_append(&s->body, p, n) < 0) {
        nghttp2_session_consume(s->h2->session, s->id, n);
        return;
    }
    tell(s);
}

void h2_stream_body_ended(struct h2_stream *s)
{
    s->body_ended = true;
    tell(s);
}

void h2_stream_gone(struct h2_stream *s)
{
    if (buf_len(&s->body) && !s->h2->closing)
        nghttp2_session_consume_connection(s->h2->session, buf_len(&s->body));
    s->reset = true;
    tell(s);
    free_if_over(s);
}

/* ---- request: to the owner ---- */

static size_t take(struct buf *from, char *p, size_t n)
{
    size_t have = buf_len(from) < n ? buf_len(from) : n;
    memcpy(p, buf_ptr(from), have);
    buf_consume(from, have);
    if (buf_len(from) == 0)
        buf_done(from);
    return have;
}

/* A piece of the body, its frame around it. */
static size_t take_body(struct h2_stream *s, char *p, size_t n)
{
    size_t have = buf_len(&s->body), at = 0;
    if (s->chunked && n <= CHUNK_ROOM)
        return 0;
    if (have > n - CHUNK_ROOM)
        have = n - CHUNK_ROOM;
    if (s->chunked)
        at = (size_t)snprintf(p, CHUNK_ROOM, "%zx\r\n", have);
    at += take(&s->body, p + at, have);
    if (s->chunked) {
        memcpy(p + at, "\r\n", 2);
        at += 2;
    }
    if (!s->reset && !s->h2->closing) {
        nghttp2_session_consume(s->h2->session, s->id, have);
        h2_wake(s->h2);
    }
    return at;
}

static ssize_t h2_read(struct stream *stream, void *p, size_t n)
{
    struct h2_stream *s = of(stream);
    if (buf_len(&s->head))
        return (ssize_t)take(&s->head, p, n);
    if (buf_len(&s->body) && n > CHUNK_ROOM)
        return (ssize_t)take_body(s, p, n);
    if (s->body_ended && !s->told_end) {
        s->told_end = true;
        if (s->chunked) {
            memcpy(p, "0\r\n\r\n", 5);
            return 5;
        }
    }
    if (s->reset && !s->told_end)
        return -ECONNRESET;
    /* One request is all that comes. Before it is answered, an end would mean that nobody waits. */
    return s->reset || (s->response_ended && s->told_end) ? 0 : -EAGAIN;
}

/* ---- response: to nghttp2 ---- */

/* Fields of a connection have no place in HTTP/2 (RFC 9113, 8.2.2). */
static bool carried(struct str name)
{
    static const char *const not [] = {"Connection", "Keep-Alive", "Proxy-Connection",
                                       "Transfer-Encoding", "Upgrade"};
    for (size_t i = 0; i < ARRAY_SIZE(not ); i++)
        if (str_ieqz(name, not [i]))
            return false;
    return true;
}

static nghttp2_nv field(struct str name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.len,
                        value.len, NGHTTP2_NV_FLAG_NONE};
}

static ssize_t parse(struct h2_stream *s, const char *p, size_t n);

/* An answered client may stop sending what nobody reads (RFC 9113, 8.1). */
static void stop_unread(struct h2_stream *s)
{
    if (s->end_sent && s->abandoned && !s->body_ended)
        nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
}

static ssize_t give_body(nghttp2_session *session, int32_t id, uint8_t *p, size_t n,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2_stream *s = source->ptr;
    size_t have = buf_len(&s->out) ? take(&s->out, (char *)p, n) : 0;
    if (s->paused && buf_len(&s->out) == 0) { /* what is held may be all there is */
        s->paused = false;
        parse(s, "", 0);
    }
    if (have == 0 && !s->response_ended) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (s->response_ended && buf_len(&s->out) == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        s->end_sent = true;
        stop_unread(s);
    }
    tell(s);
    return (ssize_t)have;
}

static void submit_head(struct h2_stream *s, int status)
{
    nghttp2_nv list[HTTP_HEADERS_MAX + 1];
    char digits[8];
    struct http_headers headers = parser_headers(s->parser);
    size_t count = 0;
    (void)snprintf(digits, sizeof digits, "%d", status);
    list[count++] = field(STR(":status"), str_from(digits));
    for (size_t i = 0; i < headers.count; i++) {
        struct str name = headers.list[i].name;
        if (!carried(name))
            continue;
        char *letters = (char *)(uintptr_t)name.p; /* the parser's own memory */
        for (size_t k = 0; k < name.len; k++)
            if (letters[k] >= 'A' && letters[k] <= 'Z')
                letters[k] = (char)(letters[k] - 'A' + 'a');
        list[count++] = field(name, headers.list[i].value);
    }
    if (status / 100 == 1) {
        nghttp2_submit_headers(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL, list, count, NULL);
        return;
    }
    const nghttp2_data_provider body = {.source.ptr = s, .read_callback = give_body};
    s->answered = true;
    if (s->head_request)
        parser_skip_body(s->parser);
    nghttp2_submit_response(s->h2->session, s->id, list, count, &body);
}

static void more_to_send(struct h2_stream *s)
{
    if (s->deferred) {
        s->deferred = false;
        nghttp2_session_resume_data(s->h2->session, s->id);
    }
    h2_wake(s->h2);
}

static bool on_body(const char *p, size_t n, void *arg)
{
    struct h2_stream *s = arg;
    buf_append(&s->out, p, n);
    s->paused = buf_len(&s->out) >= OUT_MAX;
    return !s->paused;
}

/* ---- response: from the owner ---- */

/* Handles what the parser stopped at; false: the text is malformed. */
static bool parsed(struct h2_stream *s, enum parser_stop stop)
{
    int status = s->parser->http.status_code;
    if (stop == PARSER_HEAD)
        submit_head(s, status);
    else if (stop == PARSER_MESSAGE && status / 100 == 1)
        parser_reset(s->parser);
    else if (stop == PARSER_MESSAGE)
        s->response_ended = true;
    return stop != PARSER_ERROR && stop != PARSER_TOO_LARGE && stop != PARSER_UPGRADE;
}

/* Bytes taken, or -EPROTO. */
static ssize_t parse(struct h2_stream *s, const char *p, size_t n)
{
    size_t total = 0;
    for (;;) {
        size_t used = 0;
        enum parser_stop stop = parser_feed(s->parser, p + total, n - total, &used);
        total += used;
        if (!parsed(s, stop))
            return -EPROTO;
        if (s->response_ended || stop == PARSER_MORE || stop == PARSER_PAUSED)
            break;
        if (stop == PARSER_MESSAGE && total == n)
            break;
    }
    return (ssize_t)total;
}

static ssize_t h2_write(struct stream *stream, const struct iovec *parts, int count)
{
    struct h2_stream *s = of(stream);
    size_t total = 0;
    if (s->reset)
        return -EPIPE;
    for (int i = 0; i < count && buf_len(&s->out) < OUT_MAX && !s->response_ended; i++) {
        if (parts[i].iov_len == 0)
            continue;
        ssize_t used = parse(s, parts[i].iov_base, parts[i].iov_len);
        if (used < 0)
            return used;
        total += (size_t)used;
        if ((size_t)used < parts[i].iov_len)
            break;
    }
    more_to_send(s);
    tell(s);
    if (total == 0)
        return s->response_ended ? -EPIPE : -EAGAIN;
    return (ssize_t)total;
}

static ssize_t h2_sendfile(struct stream *stream, int file, off_t *offset, size_t n)
{
    char piece[FILE_PIECE];
    ssize_t got = pread(file, piece, n < sizeof piece ? n : sizeof piece, *offset);
    if (got <= 0)
        return got < 0 ? -errno : 0;
    struct iovec part = {piece, (size_t)got};
    ssize_t sent = h2_write(stream, &part, 1);
    if (sent > 0)
        *offset += sent;
    return sent;
}

static void h2_watch(struct stream *stream, bool want_read, bool want_write)
{
    struct h2_stream *s = of(stream);
    s->want_read = want_read;
    s->want_write = want_write;
    tell(s);
}

static void h2_shutdown_write(struct stream *stream)
{
    /* The response's own end is the stream's. */
}

static void h2_stream_close(struct stream *stream, bool reset)
{
    struct h2_stream *s = of(stream);
    s->abandoned = true;
    s->want_read = s->want_write = false;
    http_loop_cancel(stream->loop, &s->task);
    if (!s->reset && !s->h2->closing) {
        nghttp2_session *session = s->h2->session;
        if (buf_len(&s->body))
            nghttp2_session_consume(session, s->id, buf_len(&s->body));
        buf_done(&s->body);
        if (reset || !s->response_ended)
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
        else
            stop_unread(s);
        h2_wake(s->h2);
    }
    free_if_over(s);
}

static const struct stream_ops h2_stream_ops = {
    .watch = h2_watch,
    .read = h2_read,
    .write = h2_write,
    .sendfile = h2_sendfile,
    .shutdown_write = h2_shutdown_write,
    .close = h2_stream_close,
};

struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id)
{
    struct h2_stream *s = xcalloc(1, sizeof *s);
    struct buf *const of_head[] = {&s->fields, &s->cookie,    &s->method,
                                   &s->path,   &s->authority, &s->host};
    s->base = (struct stream){.ops = &h2_stream_ops, .loop = h2->server->loop, .fd = -1};
    s->h2 = h2;
    s->id = id;
    s->abandoned = true; /* until h2_stream_begin finds an owner */
    for (size_t i = 0; i < ARRAY_SIZE(of_head); i++)
        buf_init(of_head[i], HTTP_HEAD_BYTES_MAX);
    buf_init(&s->head, 4 * HTTP_HEAD_BYTES_MAX);
    buf_init(&s->body, SIZE_MAX / 4);
    buf_init(&s->out, SIZE_MAX / 4);
    s->parser = parser_new(HTTP_RESPONSE, on_body, s);
    s->task.run = run_task;
    return s;
}
