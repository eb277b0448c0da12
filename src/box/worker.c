/* SPDX-License-Identifier: Apache-2.0 */
/* A thread with a queue. */
#include "box/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

struct queue {
    struct worker_job *head;
    struct worker_job **tail;
};

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct queue todo;
    struct queue done;
    bool ending;
    atomic_bool idle;
    bool running; /* a job */
    pid_t tid;
    int event_fd;
};

static void queue_add(struct queue *q, struct worker_job *job)
{
    job->next = NULL;
    *q->tail = job;
    q->tail = &job->next;
}

static struct worker_job *queue_take(struct queue *q)
{
    struct worker_job *job = q->head;
    if (job) {
        q->head = job->next;
        if (!q->head)
            q->tail = &q->head;
    }
    return job;
}

/* Of the thread. Only while a job runs is it ever idle: the owner must not wait for the lock of
 * somebody who is not let onto a processor. */
static void set_nice(const struct worker *w, int nice)
{
    /* Nothing depends on its success. */
    (void)setpriority(PRIO_PROCESS, (id_t)w->tid, nice);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    pthread_mutex_lock(&w->lock);
    w->tid = gettid();
    for (;;) {
        struct worker_job *job = queue_take(&w->todo);
        if (job) {
            bool idle = w->idle;
            w->running = true;
            pthread_mutex_unlock(&w->lock);
            if (idle)
                set_nice(w, WORKER_NICE);
            if (idle && !w->idle) /* hurried in between */
                set_nice(w, 0);
            job->run(job);
            if (idle)
                set_nice(w, 0);
            pthread_mutex_lock(&w->lock);
            w->running = false;
            queue_add(&w->done, job);
            eventfd_write(w->event_fd, 1);
        } else if (w->ending) {
            break;
        } else {
            pthread_cond_wait(&w->changed, &w->lock);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct worker *worker_new(void)
{
    struct worker *w = xcalloc(1, sizeof *w);
    w->todo.tail = &w->todo.head;
    w->done.tail = &w->done.head;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Signals are for the owner's thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int os = w->event_fd < 0 ? errno : pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (os == 0)
        return w;
    fd_closep(&w->event_fd);
    free(w);
    errno = os;
    return NULL;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    worker_set_idle(w, false);
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    worker_collect(w);
    close(w->event_fd);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

int worker_fd(const struct worker *w)
{
    return w->event_fd;
}

void worker_add(struct worker *w, struct worker_job *job)
{
    pthread_mutex_lock(&w->lock);
    queue_add(&w->todo, job);
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void worker_add_first(struct worker *w, struct worker_job *job)
{
    pthread_mutex_lock(&w->lock);
    job->next = w->todo.head;
    w->todo.head = job;
    if (!job->next)
        w->todo.tail = &job->next;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void worker_set_idle(struct worker *w, bool idle)
{
    pthread_mutex_lock(&w->lock);
    bool hurry = w->idle && !idle && w->running;
    w->idle = idle;
    if (hurry)
        set_nice(w, 0);
    pthread_mutex_unlock(&w->lock);
}

void worker_collect(struct worker *w)
{
    eventfd_t count;
    eventfd_read(w->event_fd, &count);
    for (;;) {
        pthread_mutex_lock(&w->lock);
        struct worker_job *job = queue_take(&w->done);
        pthread_mutex_unlock(&w->lock);
        if (!job)
            return;
        job->done(job);
    }
}
