/* SPDX-License-Identifier: Apache-2.0 */
/* The threads, one queue to them and one back. */
#include "agent/lanes.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "base/mem.h"

enum { LINGER_S = 2, STACK_BYTES = 64 << 10 };

struct queue {
    struct lane_job *first, **tail;
};

struct lanes {
    pthread_mutex_t lock;
    pthread_cond_t work; /* there is something to do, or all is to end */
    pthread_cond_t gone; /* a thread has ended */
    struct queue waiting, ready;
    unsigned threads, idle;
    bool closing;
    uv_async_t news;
};

static void put(struct queue *q, struct lane_job *job)
{
    job->next = NULL;
    *q->tail = job;
    q->tail = &job->next;
}

static struct lane_job *take(struct queue *q)
{
    struct lane_job *job = q->first;
    if (!job)
        return NULL;
    q->first = job->next;
    if (!q->first)
        q->tail = &q->first;
    return job;
}

/* With the lock: the next job, or NULL when the thread is to end. */
static struct lane_job *await(struct lanes *l)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LINGER_S;
    int rc = 0;
    l->idle++;
    while (!l->waiting.first && !l->closing && rc == 0)
        rc = pthread_cond_timedwait(&l->work, &l->lock, &until);
    l->idle--;
    return take(&l->waiting);
}

static void *lane(void *arg)
{
    struct lanes *l = arg;
    struct lane_job *job;
    pthread_mutex_lock(&l->lock);
    while ((job = await(l))) {
        pthread_mutex_unlock(&l->lock);
        job->run(job);
        pthread_mutex_lock(&l->lock);
        put(&l->ready, job);
        uv_async_send(&l->news);
    }
    l->threads--;
    pthread_cond_signal(&l->gone);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* With the lock. */
static bool start_thread(struct lanes *l)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attr, lane, l) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    l->threads += started;
    return started;
}

static void collect(uv_async_t *news)
{
    struct lanes *l = news->data;
    for (;;) {
        pthread_mutex_lock(&l->lock);
        struct lane_job *job = take(&l->ready);
        pthread_mutex_unlock(&l->lock);
        if (!job)
            return;
        job->done(job);
    }
}

void lanes_add(struct lanes *l, struct lane_job *job)
{
    pthread_mutex_lock(&l->lock);
    put(&l->waiting, job);
    if (l->idle)
        pthread_cond_signal(&l->work);
    else if (l->threads < LANES_MAX && !start_thread(l) && l->threads == 0) {
        job = take(&l->waiting);
        job->run(job);
        put(&l->ready, job);
        uv_async_send(&l->news);
    }
    pthread_mutex_unlock(&l->lock);
}

struct lanes *lanes_new(uv_loop_t *loop)
{
    struct lanes *l = xcalloc(1, sizeof *l);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, &attr);
    pthread_cond_init(&l->gone, NULL);
    pthread_condattr_destroy(&attr);
    l->waiting.tail = &l->waiting.first;
    l->ready.tail = &l->ready.first;
    uv_async_init(loop, &l->news, collect);
    l->news.data = l;
    uv_unref((uv_handle_t *)&l->news);
    return l;
}

static void on_closed(uv_handle_t *handle)
{
    struct lanes *l = handle->data;
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->gone);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void lanes_free(struct lanes *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->work);
    while (l->threads)
        pthread_cond_wait(&l->gone, &l->lock);
    pthread_mutex_unlock(&l->lock);
    collect(&l->news);
    uv_close((uv_handle_t *)&l->news, on_closed);
}
