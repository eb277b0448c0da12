/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies and workers. */
#include "agent/body_work.h"

#include "base/mem.h"

enum {
    BUFFER = 256 * 1024,  /* pause above this much waiting */
    BUFFER_MAX = 8 << 20, /* never reached: what one read of a socket yields beyond BUFFER */
};

static struct body_work *work_of(struct job *job)
{
    return CONTAINER_OF(job, struct body_work, job);
}

static void work_free(struct job *job)
{
    struct body_work *w = work_of(job);
    buf_done(&w->waiting);
    buf_done(&w->taken);
    w->ops->free(w);
}

static void answer(struct body_work *w)
{
    w->answered = true;
    buf_done(&w->waiting);
    if (w->status)
        http_respond_error(w->job.x, w->status, "%s", w->err.message);
    else
        w->ops->answer(w);
    http_body_resume(w->job.x); /* the rest of a refused body is read and dropped */
}

static void work_run(struct job *job)
{
    struct body_work *w = work_of(job);
    w->status = w->ops->feed(w, buf_str(&w->taken), &w->err);
    if (w->status == 0 && w->finish)
        w->status = w->ops->finish(w, &w->err);
}

static void start_work(struct body_work *w)
{
    struct buf free_one = w->taken;
    buf_clear(&free_one);
    w->taken = w->waiting;
    w->waiting = free_one;
    w->heavy = true;
    w->finish = w->ended;
    job_start(&w->job);
    http_body_resume(w->job.x);
}

static void work_done(struct job *job)
{
    struct body_work *w = work_of(job);
    if (w->status || w->finish)
        answer(w);
    else if (buf_len(&w->waiting) || w->ended)
        start_work(w);
}

static bool may_do_inline(const struct body_work *w, size_t n)
{
    return !w->heavy && w->ops->is_quick(w, n);
}

static void on_data(struct http_exchange *x, const char *bytes, size_t n, void *arg)
{
    struct body_work *w = arg;
    if (w->answered)
        return;
    if (may_do_inline(w, n)) {
        w->status = w->ops->feed(w, (struct str){bytes, n}, &w->err);
        if (w->status)
            answer(w);
        return;
    }
    if (buf_append(&w->waiting, bytes, n) < 0) {
        http_exchange_abort(x);
        return;
    }
    if (!w->job.working)
        start_work(w);
    else if (buf_len(&w->waiting) >= BUFFER)
        http_body_pause(x);
}

static void on_end(struct http_exchange *x, int status, void *arg)
{
    struct body_work *w = arg;
    if (w->answered)
        return;
    if (status < 0) {
        /* Cut: whatever is there is dropped with the exchange. */
        if (!w->job.working) {
            w->status = 400;
            err_set(&w->err, ERR_INVALID, 0, "the request body is cut or malformed");
            answer(w);
        } else {
            http_exchange_abort(x);
        }
        return;
    }
    w->ended = true;
    if (w->job.working)
        return;
    if (may_do_inline(w, 0)) {
        w->status = w->ops->finish(w, &w->err);
        answer(w);
    } else {
        start_work(w);
    }
}

void body_work_start(struct body_work *w, struct http_exchange *x, const struct body_work_ops *ops)
{
    static const struct job_ops job_ops = {.run = work_run, .done = work_done, .free = work_free};
    static const struct http_body_events body_events = {on_data, on_end};
    w->ops = ops;
    buf_init(&w->waiting, BUFFER_MAX);
    buf_init(&w->taken, BUFFER_MAX);
    job_attach(&w->job, x, &job_ops);
    http_body_read(x, &body_events, w);
}
