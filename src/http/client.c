/* SPDX-License-Identifier: Apache-2.0 */
/* One request to an upstream behind agent.sock. */
#include "http/client.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "http/loop.h"
#include "http/parser.h"

enum {
    DIRECT_MIN = 16 * 1024, /* request pieces from here on are written uncopied */
    IN_MAX = 512 * 1024,    /* kept while paused: one read at the most, and what was left of it */
};

enum phase {
    PHASE_TUNNEL, /* waiting for the answer to CONNECT */
    PHASE_HEAD,
    PHASE_BODY,
    PHASE_OVER,
};

struct http_call {
    uv_loop_t *loop;
    struct stream *stream;
    struct parser *parser;
    struct http_task task;
    const struct http_call_events *events;
    void *arg;
    struct buf in;
    struct buf out;
    enum phase phase;
    int tunnel_port;
    bool head_request;
    bool chunked;
    bool paused;
    bool poke;
    bool eof;
    bool was_queued;
    bool write_ended;
    bool write_dead; /* the peer takes no more; its answer may still be there to read */
    bool busy;  /* settle is on the stack: memory must stay */
    bool freed; /* http_call_free was called meanwhile */
};

static void settle(struct http_call *call);

static void run_task(struct http_task *task)
{
    settle(CONTAINER_OF(task, struct http_call, task));
}

static void wake(struct http_call *call)
{
    if (call->phase != PHASE_OVER)
        http_loop_defer(call->loop, &call->task);
}

static void drop_stream(struct http_call *call)
{
    if (call->stream)
        stream_close(TAKE_PTR(call->stream));
}

static void over(struct http_call *call, int status)
{
    if (call->phase == PHASE_OVER)
        return;
    call->phase = PHASE_OVER;
    drop_stream(call);
    if (!call->freed)
        call->events->end(call, status, call->arg);
}

/* ---- request ---- */

/* An upstream may refuse early and close while we still write. What it said is in the socket, so a
 * failed write only ends the writing; the reading side decides how the call ends. */
static void writing_failed(struct http_call *call)
{
    call->write_dead = true;
    buf_done(&call->out);
}

/* Bytes wait while the tunnel is not there yet. */
static void flush(struct http_call *call)
{
    if (call->phase == PHASE_TUNNEL || !call->stream)
        return;
    while (buf_len(&call->out)) {
        struct iovec part = {(void *)(uintptr_t)buf_ptr(&call->out), buf_len(&call->out)};
        ssize_t sent = stream_write(call->stream, &part, 1);
        if (sent == -EAGAIN)
            return;
        if (sent < 0)
            writing_failed(call);
        else
            buf_consume(&call->out, (size_t)sent);
    }
    if (call->was_queued) {
        call->was_queued = false;
        if (call->events->drained && !call->write_ended)
            call->events->drained(call, call->arg);
    }
}

static void queue(struct http_call *call, struct iovec *parts, int count)
{
    size_t total = 0, skip = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    call->was_queued = true;
    wake(call);
    if (call->write_dead) /* dropped; `drained` tells the owner to go on all the same */
        return;
    if (total >= DIRECT_MIN && call->phase != PHASE_TUNNEL && buf_len(&call->out) == 0) {
        ssize_t sent = stream_write(call->stream, parts, count);
        skip = sent > 0 ? (size_t)sent : 0;
    }
    for (int i = 0; i < count; i++) {
        size_t drop = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        skip -= drop;
        buf_append(&call->out, (char *)parts[i].iov_base + drop, parts[i].iov_len - drop);
    }
}

void http_call_write(struct http_call *call, const void *p, size_t n)
{
    if (!call->stream || call->phase == PHASE_OVER || n == 0)
        return;
    char size[20];
    struct iovec parts[3] = {{size, 0}, {(void *)(uintptr_t)p, n}, {(void *)(uintptr_t) "\r\n", 0}};
    if (call->chunked) {
        parts[0].iov_len = (size_t)snprintf(size, sizeof size, "%zx\r\n", n);
        parts[2].iov_len = 2;
    }
    queue(call, parts, 3);
}

void http_call_write_end(struct http_call *call)
{
    call->write_ended = true;
    if (call->chunked && call->stream && call->phase != PHASE_OVER)
        queue(call, &(struct iovec){(void *)(uintptr_t) "0\r\n\r\n", 5}, 1);
}

size_t http_call_queued(const struct http_call *call)
{
    return buf_len(&call->out);
}

static int write_head(struct http_call *call, struct str method, struct str target,
                      struct str fields, int64_t length)
{
    struct buf *out = &call->out;
    int rc = buf_printf(out, "%.*s ", STR_ARG(method));
    rc = rc < 0 ? rc : buf_append_str(out, target);
    rc = rc < 0 ? rc : buf_append_z(out, " HTTP/1.1\r\n");
    rc = rc < 0 ? rc : buf_append_str(out, fields);
    if (length < 0) {
        call->chunked = true;
        rc = rc < 0 ? rc : buf_append_z(out, "Transfer-Encoding: chunked\r\n");
    } else if (length > 0 || str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) ||
               str_eq(method, STR("PATCH"))) {
        rc = rc < 0 ? rc : buf_printf(out, "Content-Length: %lld\r\n", (long long)length);
    }
    return rc < 0 ? rc : buf_append_z(out, "\r\n");
}

static int send_connect(struct http_call *call)
{
    char text[128];
    int n = snprintf(text, sizeof text,
                     "CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
                     call->tunnel_port, call->tunnel_port);
    struct iovec part = {text, (size_t)n};
    ssize_t sent = stream_write(call->stream, &part, 1);
    /* A fresh socket takes so little at once, or is broken. */
    return sent == n ? 0 : sent < 0 ? (int)sent : -EIO;
}

/* ---- response ---- */

static bool on_body(const char *p, size_t n, void *arg)
{
    struct http_call *call = arg;
    if (call->events->data && !call->freed)
        call->events->data(call, p, n, call->arg);
    return !call->paused && !call->freed;
}

/* The head of CONNECT's answer. */
static void tunnel_head(struct http_call *call)
{
    int status = call->parser->http.status_code;
    if (status / 100 != 2) {
        over(call, status == 502 ? -ECONNREFUSED : -EPROTO);
        return;
    }
    parser_reset(call->parser);
    call->phase = PHASE_HEAD;
    call->poke = true;
}

static void response_head(struct http_call *call)
{
    int status = call->parser->http.status_code;
    if (status / 100 == 1 && status != 101)
        return; /* interim: the real one follows */
    struct http_response response = {
        .status = status,
        .headers = parser_headers(call->parser),
        .content_length = parser_content_length(call->parser),
        .upgrade = status == 101,
    };
    if (call->head_request)
        parser_skip_body(call->parser);
    if (status == 204 || status == 304 || status == 101)
        response.content_length = 0;
    call->phase = PHASE_BODY;
    call->events->head(call, &response, call->arg);
}

/* What follows a 101 is not HTTP: it must be in call->in before the owner takes the stream. */
static int upgraded(struct http_call *call, const char *p, size_t n)
{
    int rc = buf_append(&call->in, p, n);
    if (rc == 0)
        response_head(call);
    return rc;
}

static void message_over(struct http_call *call)
{
    if (call->phase == PHASE_BODY)
        over(call, 0);
    else if (call->phase == PHASE_HEAD)
        parser_reset(call->parser); /* 1xx */
}

/* Parses what there is; the rest goes to call->in. 0 or -errno. */
static int feed(struct http_call *call, const char *p, size_t n)
{
    while (!call->paused && call->phase != PHASE_OVER && !call->freed && call->stream) {
        size_t used = 0;
        bool was_tunnel = call->phase == PHASE_TUNNEL;
        enum parser_stop stop = parser_feed(call->parser, p, n, &used);
        p += used;
        n -= used;
        if (stop == PARSER_HEAD && was_tunnel)
            tunnel_head(call);
        else if (stop == PARSER_HEAD && call->parser->http.status_code == 101)
            return upgraded(call, p, n);
        else if (stop == PARSER_HEAD)
            response_head(call);
        else if (stop == PARSER_MESSAGE)
            message_over(call);
        else if (stop == PARSER_ERROR || stop == PARSER_TOO_LARGE)
            return -EPROTO;
        if (stop == PARSER_MORE || stop == PARSER_UPGRADE || (n == 0 && was_tunnel))
            break;
    }
    if (n && call->phase != PHASE_OVER && !call->freed)
        return buf_append(&call->in, p, n);
    return 0;
}

static int feed_kept(struct http_call *call)
{
    struct buf kept = call->in;
    buf_init(&call->in, IN_MAX);
    int rc = feed(call, kept.data ? buf_ptr(&kept) : "", buf_len(&kept));
    buf_done(&kept);
    return rc;
}

static void peer_ended(struct http_call *call)
{
    call->eof = true;
    if (call->paused || buf_len(&call->in))
        return; /* settle comes back to it when all is delivered */
    if (call->phase == PHASE_BODY && parser_finish(call->parser) == PARSER_MESSAGE)
        over(call, 0);
    else
        over(call, -ECONNRESET);
}

static void read_some(struct http_call *call)
{
    size_t size;
    char *scratch = http_loop_scratch(call->loop, &size);
    ssize_t got = stream_read(call->stream, scratch, size);
    if (got == -EAGAIN)
        return;
    if (got <= 0) {
        peer_ended(call);
        return;
    }
    int rc;
    if (buf_len(&call->in)) {
        rc = buf_append(&call->in, scratch, (size_t)got);
        rc = rc < 0 ? rc : feed_kept(call);
    } else {
        rc = feed(call, scratch, (size_t)got);
    }
    if (rc < 0)
        over(call, rc);
}

static void release(struct http_call *call)
{
    parser_free(call->parser);
    buf_done(&call->in);
    buf_done(&call->out);
    free(call);
}

static void advance(struct http_call *call)
{
    int rc = 0;
    flush(call);
    while (rc == 0 && call->phase != PHASE_OVER && !call->freed && !call->paused &&
           (call->poke || (buf_len(&call->in) && call->phase != PHASE_TUNNEL))) {
        bool had = call->poke;
        size_t before = buf_len(&call->in);
        call->poke = false;
        rc = feed_kept(call);
        if (rc == 0)
            flush(call);
        if (!had && buf_len(&call->in) == before)
            break;
    }
    if (rc < 0)
        over(call, rc);
    else if (call->eof && call->phase != PHASE_OVER && !call->freed)
        peer_ended(call);
}

static void settle(struct http_call *call)
{
    call->busy = true;
    advance(call);
    call->busy = false;
    if (call->freed) {
        release(call);
        return;
    }
    if (call->stream)
        stream_watch(call->stream, !call->eof && !call->paused,
                     buf_len(&call->out) && call->phase != PHASE_TUNNEL);
}

static void on_ready(struct stream *s, bool readable, bool writable, void *arg)
{
    struct http_call *call = arg;
    call->busy = true;
    if (readable)
        read_some(call);
    call->busy = false;
    settle(call);
}

/* ---- life ---- */

int http_call_open(const struct http_call_options *options, struct str method, struct str target,
                   struct str head_fields, int64_t body_length, struct http_call **ret)
{
    struct http_call *call = xcalloc(1, sizeof *call);
    call->loop = options->loop;
    call->events = options->events;
    call->arg = options->arg;
    call->tunnel_port = options->tunnel_port;
    call->phase = options->tunnel_port ? PHASE_TUNNEL : PHASE_HEAD;
    call->head_request = str_eq(method, STR("HEAD"));
    call->task.run = run_task;
    call->write_ended = body_length == 0;
    buf_init(&call->in, IN_MAX);
    buf_init(&call->out, SIZE_MAX / 4);
    int rc = stream_connect_unix(call->loop, options->socket_path, on_ready, call, &call->stream);
    if (rc == 0)
        rc = write_head(call, method, target, head_fields, body_length);
    if (rc == 0 && options->tunnel_port)
        rc = send_connect(call);
    if (rc < 0) {
        drop_stream(call);
        release(call);
        return rc;
    }
    call->parser = parser_new(HTTP_RESPONSE, on_body, call);
    call->was_queued = true;
    stream_watch(call->stream, true, false);
    wake(call);
    *ret = call;
    return 0;
}

void http_call_pause(struct http_call *call)
{
    call->paused = true;
    if (call->stream && !call->busy)
        stream_watch(call->stream, false, buf_len(&call->out) && call->phase != PHASE_TUNNEL);
}

void http_call_resume(struct http_call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    call->poke = true;
    wake(call);
}

struct stream *http_call_take_stream(struct http_call *call, struct buf *ret_leftover)
{
    *ret_leftover = call->in;
    buf_init(&call->in, 0);
    call->phase = PHASE_OVER;
    http_loop_cancel(call->loop, &call->task);
    struct stream *stream = TAKE_PTR(call->stream);
    stream_watch(stream, false, false);
    return stream;
}

void http_call_free(struct http_call *call)
{
    if (!call || call->freed)
        return;
    call->freed = true;
    call->phase = PHASE_OVER;
    http_loop_cancel(call->loop, &call->task);
    drop_stream(call);
    if (!call->busy)
        release(call);
}
