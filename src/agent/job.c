/* SPDX-License-Identifier: Apache-2.0 */
/* Work in threads for an exchange. */
#include "agent/job.h"

#include <assert.h>
#include <malloc.h>

#include "base/mem.h"

static unsigned running; /* jobs in threads */

/* A large job's memory goes back to the system: a sandbox rests most of its life. */
static void end(struct job *job)
{
    bool was_large = job->has_run;
    job->ops->free(job);
    if (was_large && running == 0)
        malloc_trim(64 * 1024);
}

static void on_drained(struct http_exchange *x, void *arg)
{
    struct job *job = arg;
    if (!job->working && job->ops->drained)
        job->ops->drained(job);
}

static void on_closed(struct http_exchange *x, void *arg)
{
    struct job *job = arg;
    job->x = NULL;
    if (!job->working)
        end(job);
}

void job_attach(struct job *job, struct http_exchange *x, const struct job_ops *ops)
{
    static const struct http_exchange_events events = {on_drained, on_closed};
    job->ops = ops;
    job->x = x;
    job->loop = http_exchange_loop(x);
    http_exchange_on(x, &events, job);
}

static void run(uv_work_t *work)
{
    struct job *job = CONTAINER_OF(work, struct job, work);
    job->ops->run(job);
}

static void ran(uv_work_t *work, int status)
{
    struct job *job = CONTAINER_OF(work, struct job, work);
    job->working = false;
    running--;
    if (job->x)
        job->ops->done(job);
    else
        end(job);
}

void job_start(struct job *job)
{
    static bool started;
    assert(!job->working);
    if (!started) {
        mallopt(M_ARENA_MAX, 1); /* memory freed in an arena of a thread's own never goes back */
        started = true;
    }
    job->working = job->has_run = true;
    running++;
    uv_queue_work(job->loop, &job->work, run, ran);
}
