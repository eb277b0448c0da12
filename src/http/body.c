/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies, pulled by the handler. */
#include <errno.h>

#include "base/mem.h"
#include "http/server-internal.h"

struct body_collector {
    struct buf bytes;
    http_body_done_fn *done;
    void *arg;
};

bool body_piece(struct http_exchange *x, const char *p, size_t n)
{
    if (x->body == BODY_READING && x->body_events->data)
        x->body_events->data(x, p, n, x->body_arg);
    if (x->body == BODY_SKIPPING && (x->skipped += n) > HTTP_SKIP_MAX)
        x->conn->close_after = x->conn->linger = true;
    return x->body != BODY_PAUSED;
}

void body_ended(struct http_exchange *x, int status)
{
    bool reading = x->body == BODY_READING || x->body == BODY_PAUSED;
    x->body = BODY_DONE;
    if (reading && x->body_events->end)
        x->body_events->end(x, status, x->body_arg);
}

void http_body_read(struct http_exchange *x, const struct http_body_events *events, void *arg)
{
    if (x->body != BODY_UNREAD)
        return;
    x->body = BODY_READING;
    x->body_events = events;
    x->body_arg = arg;
    if (x->request.content_length == 0) {
        body_ended(x, 0);
        return;
    }
    if (x->request.expect_continue && x->response == RESPONSE_NONE)
        buf_append_z(&x->conn->out, "HTTP/1.1 100 Continue\r\n\r\n");
    x->conn->poke = true;
    conn_wake(x->conn);
}

void http_body_pause(struct http_exchange *x)
{
    if (x->body == BODY_READING)
        x->body = BODY_PAUSED;
}

void http_body_resume(struct http_exchange *x)
{
    if (x->body != BODY_PAUSED)
        return;
    x->body = BODY_READING;
    x->conn->poke = true;
    conn_wake(x->conn);
}

static void finish_collecting(struct http_exchange *x, int status)
{
    struct body_collector *c = TAKE_PTR(x->collector);
    if (!c)
        return;
    x->conn->server->collected -= buf_len(&c->bytes);
    c->done(x, status, buf_str(&c->bytes), c->arg);
    buf_done(&c->bytes);
    free(c);
}

static void collect_data(struct http_exchange *x, const char *p, size_t n, void *arg)
{
    struct http_server *server = x->conn->server;
    size_t max = server->options.max_collected;
    if (!x->collector)
        return;
    if (max && n > max - server->collected)
        finish_collecting(x, -ENOBUFS);
    else if (buf_append(&x->collector->bytes, p, n) < 0)
        finish_collecting(x, -EMSGSIZE);
    else
        server->collected += n;
}

static void collect_end(struct http_exchange *x, int status, void *arg)
{
    finish_collecting(x, status);
}

void http_body_collect(struct http_exchange *x, size_t max, http_body_done_fn *done, void *arg)
{
    static const struct http_body_events events = {.data = collect_data, .end = collect_end};
    if (x->request.content_length > 0 && (uint64_t)x->request.content_length > max) {
        done(x, -EMSGSIZE, STR(""), arg);
        return;
    }
    x->collector = xcalloc(1, sizeof *x->collector);
    buf_init(&x->collector->bytes, max);
    x->collector->done = done;
    x->collector->arg = arg;
    http_body_read(x, &events, NULL);
}

void body_done(struct http_exchange *x)
{
    if (!x->collector)
        return;
    x->conn->server->collected -= buf_len(&x->collector->bytes);
    buf_done(&x->collector->bytes);
    free(x->collector);
    x->collector = NULL;
}
