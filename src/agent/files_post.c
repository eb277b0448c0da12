/* SPDX-License-Identifier: Apache-2.0 */
/* POST /files: uploads (protocol.md 3.4), the waiting part: what comes is written at once while it is
 * little; more goes to a worker, two buffers in turn, and the socket is not read while both are full.
 * So memory is bounded by them and a slow disk holds up nobody else. */
#include <errno.h>
#include <sys/statvfs.h>

#include "agent/handlers.h"
#include "agent/job.h"
#include "agent/upload_batch.h"
#include "base/mem.h"

enum {
    INLINE_COST = 128 * 1024, /* work done on the loop before a worker takes over */
    INLINE_GZIP = 4 * 1024,   /* compressed bytes, which may become a thousand times more */
    BUFFER = 256 * 1024,      /* pause above this much waiting */
    BUFFER_MAX = 8 << 20,     /* never reached: what one read of a socket yields beyond BUFFER */
};

struct post {
    struct job job;
    struct file_query query;
    struct upload_batch *batch;
    struct buf waiting; /* received, not yet processed */
    struct buf taken;   /* the worker's */
    size_t fed;
    bool heavy;  /* a worker has been needed: it does the rest, too */
    bool ended;  /* the body is complete */
    bool finish; /* this work is the last */
    bool answered;
    int status;
    struct err err;
};

static struct post *post_of(struct job *job)
{
    return CONTAINER_OF(job, struct post, job);
}

static void post_free(struct job *job)
{
    struct post *p = post_of(job);
    upload_batch_free(p->batch);
    file_query_done(&p->query);
    buf_done(&p->waiting);
    buf_done(&p->taken);
    free(p);
}

static void answer(struct post *p)
{
    char etag[ETAG_SIZE], digest[SHA256_FIELD_SIZE];
    p->answered = true;
    buf_done(&p->waiting);
    if (!p->status && upload_batch_tag(p->batch, etag, digest)) {
        http_respond_header(p->job.x, "ETag", etag);
        if (digest[0])
            http_respond_header(p->job.x, "Repr-Digest", digest);
    }
    if (p->status)
        http_respond_error(p->job.x, p->status, "%s", p->err.message);
    else
        http_respond(p->job.x, 200, "application/json; charset=utf-8",
                     upload_batch_answer(p->batch));
    http_body_resume(p->job.x); /* the rest of a refused body is read and dropped */
}

static void post_run(struct job *job)
{
    struct post *p = post_of(job);
    struct str bytes = buf_str(&p->taken);
    p->status = upload_batch_feed(p->batch, bytes.p, bytes.len, &p->err);
    if (p->status == 0 && p->finish)
        p->status = upload_batch_finish(p->batch, &p->err);
}

static void start_work(struct post *p)
{
    struct buf free_one = p->taken;
    buf_clear(&free_one);
    p->taken = p->waiting;
    p->waiting = free_one;
    p->heavy = true;
    p->finish = p->ended;
    job_start(&p->job);
    http_body_resume(p->job.x);
}

static void post_done(struct job *job)
{
    struct post *p = post_of(job);
    if (p->status || p->finish)
        answer(p);
    else if (buf_len(&p->waiting) || p->ended)
        start_work(p);
}

static bool may_do_inline(const struct post *p, size_t n)
{
    if (p->heavy || upload_batch_cost(p->batch) + n > INLINE_COST)
        return false;
    return !upload_batch_is_gzip(p->batch) || p->fed + n <= INLINE_GZIP;
}

static void on_data(struct http_exchange *x, const char *bytes, size_t n, void *arg)
{
    struct post *p = arg;
    if (p->answered)
        return;
    if (may_do_inline(p, n)) {
        p->fed += n;
        p->status = upload_batch_feed(p->batch, bytes, n, &p->err);
        if (p->status)
            answer(p);
        return;
    }
    if (buf_append(&p->waiting, bytes, n) < 0) {
        http_exchange_abort(x);
        return;
    }
    if (!p->job.working)
        start_work(p);
    else if (buf_len(&p->waiting) >= BUFFER)
        http_body_pause(x);
}

static void on_end(struct http_exchange *x, int status, void *arg)
{
    struct post *p = arg;
    if (p->answered)
        return;
    if (status < 0) {
        /* Cut: whatever is there is dropped with the exchange. */
        if (!p->job.working) {
            p->status = 400;
            err_set(&p->err, ERR_INVALID, 0, "the request body is cut or malformed");
            answer(p);
        } else {
            http_exchange_abort(x);
        }
        return;
    }
    p->ended = true;
    if (p->job.working)
        return;
    if (may_do_inline(p, 0)) {
        p->status = upload_batch_finish(p->batch, &p->err);
        answer(p);
    } else {
        start_work(p);
    }
}

/* Refuses what announces more than the disk has, before it fills it up. The sum of several files is
 * measured where the first one goes. */
static bool has_space(const struct http_request *request, const struct file_query *query)
{
    struct statvfs fs;
    if (request->content_length < (16 << 20) || !query->path)
        return true;
    _cleanup_free_ char *dir = xstrdup(query->path);
    for (char *slash; statvfs(dir, &fs) < 0; *slash = '\0')
        if (!(slash = strrchr(dir, '/')) || slash == dir)
            return true;
    return (uint64_t)request->content_length <= (uint64_t)fs.f_bavail * fs.f_frsize;
}

void handle_files_post(struct agent *agent, struct http_exchange *x)
{
    static const struct job_ops ops = {.run = post_run, .done = post_done, .free = post_free};
    static const struct http_body_events body_events = {on_data, on_end};
    const struct http_request *request = http_exchange_request(x);
    struct post *p = xcalloc(1, sizeof *p);
    struct err err = {0};
    buf_init(&p->waiting, BUFFER_MAX);
    buf_init(&p->taken, BUFFER_MAX);
    int status = file_query_read(agent, request, &p->query, &err);
    if (status == 0 && !has_space(request, &p->query)) {
        err_set(&err, ERR_NO_SPACE, 0, "not enough disk space available: %lld bytes required",
                (long long)request->content_length);
        status = 507;
    }
    if (status == 0)
        status = upload_batch_open(request, &p->query, &p->batch, &err);
    if (status) {
        post_free(&p->job);
        http_respond_error(x, status, "%s", err.message);
        return;
    }
    job_attach(&p->job, x, &ops);
    http_body_read(x, &body_events, p);
}
