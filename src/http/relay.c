/* SPDX-License-Identifier: Apache-2.0 */
/* Raw bytes between two streams. */
#include "http/relay.h"

#include <errno.h>

#include "base/mem.h"
#include "http/loop.h"

struct direction {
    struct stream *from, *to;
    struct buf held; /* read but not yet taken by `to` */
    bool ended;      /* `from` sends no more */
    bool finished;   /* and `to` has been told */
};

struct relay {
    struct direction way[2];
    uv_timer_t timer;
    uv_loop_t *loop;
    int64_t idle_ms;
    uint64_t last_ms;
    relay_done_fn *done;
    void *arg;
    struct http_task task;
    bool closing;
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct relay *r = handle->data;
    buf_done(&r->way[0].held);
    buf_done(&r->way[1].held);
    free(r);
}

void relay_close(struct relay *r)
{
    if (r->closing)
        return;
    r->closing = true;
    http_loop_cancel(r->loop, &r->task);
    stream_close(r->way[0].from);
    stream_close(r->way[1].from);
    uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}

static void finish(struct relay *r)
{
    relay_done_fn *done = r->done;
    void *arg = r->arg;
    relay_close(r);
    if (done)
        done(arg);
}

/* Writes what is held. False: broken. */
static bool flush(struct direction *d)
{
    while (buf_len(&d->held)) {
        struct iovec part = {(void *)(uintptr_t)buf_ptr(&d->held), buf_len(&d->held)};
        ssize_t sent = stream_write(d->to, &part, 1);
        if (sent == -EAGAIN)
            return true;
        if (sent < 0)
            return false;
        buf_consume(&d->held, (size_t)sent);
    }
    if (d->held.capacity)
        buf_done(&d->held);
    if (d->ended && !d->finished) {
        d->finished = true;
        stream_shutdown_write(d->to);
    }
    return true;
}

/* Reads once and passes it on. False: broken. */
static bool pump(struct relay *r, struct direction *d)
{
    if (d->ended || buf_len(&d->held))
        return true;
    size_t size;
    char *scratch = http_loop_scratch(r->loop, &size);
    ssize_t got = stream_read(d->from, scratch, size);
    if (got == -EAGAIN)
        return true;
    if (got < 0)
        return false;
    if (got == 0) {
        d->ended = true;
        return flush(d);
    }
    struct iovec part = {scratch, (size_t)got};
    ssize_t sent = stream_write(d->to, &part, 1);
    if (sent < 0 && sent != -EAGAIN)
        return false;
    size_t taken = sent > 0 ? (size_t)sent : 0;
    return buf_append(&d->held, scratch + taken, (size_t)got - taken) == 0;
}

static void watch(struct relay *r)
{
    for (int i = 0; i < 2; i++) {
        struct direction *out = &r->way[i], *in = &r->way[!i];
        stream_watch(out->from, !out->ended && buf_len(&out->held) == 0, buf_len(&in->held) > 0);
    }
}

static void settle(struct relay *r)
{
    if (!flush(&r->way[0]) || !flush(&r->way[1]) ||
        (r->way[0].finished && r->way[1].finished)) {
        finish(r);
        return;
    }
    watch(r);
}

static void run_task(struct http_task *task)
{
    settle(CONTAINER_OF(task, struct relay, task));
}

static void on_ready(struct stream *s, bool readable, bool writable, void *arg)
{
    struct relay *r = arg;
    struct direction *d = s == r->way[0].from ? &r->way[0] : &r->way[1];
    r->last_ms = uv_now(r->loop);
    if (readable && !pump(r, d)) {
        finish(r);
        return;
    }
    settle(r);
}

static void on_timer(uv_timer_t *timer)
{
    struct relay *r = timer->data;
    uint64_t rested = uv_now(r->loop) - r->last_ms;
    if (rested >= (uint64_t)r->idle_ms)
        finish(r);
    else
        uv_timer_start(timer, on_timer, (uint64_t)r->idle_ms - rested, 0);
}

struct relay *relay_start(struct stream *a, struct buf *a_left, struct stream *b,
                          struct buf *b_left, int64_t idle_ns, relay_done_fn *done, void *arg)
{
    struct relay *r = xcalloc(1, sizeof *r);
    r->loop = stream_loop(a);
    r->way[0] = (struct direction){.from = a, .to = b, .held = *a_left};
    r->way[1] = (struct direction){.from = b, .to = a, .held = *b_left};
    *a_left = *b_left = (struct buf){0};
    r->way[0].held.ceiling = r->way[1].held.ceiling = SIZE_MAX / 4;
    r->idle_ms = idle_ns / 1000000;
    r->last_ms = uv_now(r->loop);
    r->done = done;
    r->arg = arg;
    r->task.run = run_task;
    uv_timer_init(r->loop, &r->timer);
    r->timer.data = r;
    if (r->idle_ms)
        uv_timer_start(&r->timer, on_timer, (uint64_t)r->idle_ms, 0);
    stream_set_owner(a, on_ready, r);
    stream_set_owner(b, on_ready, r);
    http_loop_defer(r->loop, &r->task);
    return r;
}
