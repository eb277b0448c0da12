/* SPDX-License-Identifier: Apache-2.0 */
/* Deferred work and the shared read buffer of a libuv loop. */
#include "http/loop.h"

#include "base/mem.h"

/* Large enough that bulk bodies move at memory speed; only the pages touched cost memory. */
enum { SCRATCH_SIZE = 256 * 1024 };

/* Tasks run in one pass at the most; a task that defers another again and again must not keep the
 * loop from its sockets. */
enum { PASS_MAX = 4096 };

TAILQ_HEAD(task_list, http_task);

struct http_loop {
    uv_prepare_t prepare; /* runs right before the loop waits */
    uv_idle_t idle;       /* active while tasks are left over, so that the loop does not wait */
    struct task_list tasks;
    char *scratch;
    int open_handles;
};

static void idle_nothing(uv_idle_t *handle)
{
}

static void run_tasks(uv_prepare_t *handle)
{
    struct http_loop *l = handle->data;
    struct http_task *task;
    for (int i = 0; i < PASS_MAX && (task = TAILQ_FIRST(&l->tasks)); i++) {
        TAILQ_REMOVE(&l->tasks, task, link);
        task->queued = false;
        task->run(task);
    }
    if (TAILQ_EMPTY(&l->tasks)) {
        uv_prepare_stop(&l->prepare);
        uv_idle_stop(&l->idle);
    } else {
        uv_idle_start(&l->idle, idle_nothing);
    }
}

static struct http_loop *get(uv_loop_t *loop)
{
    if (loop->data)
        return loop->data;
    struct http_loop *l = xcalloc(1, sizeof *l);
    TAILQ_INIT(&l->tasks);
    uv_prepare_init(loop, &l->prepare);
    uv_idle_init(loop, &l->idle);
    l->prepare.data = l->idle.data = l;
    l->open_handles = 2;
    loop->data = l;
    return l;
}

void http_loop_defer(uv_loop_t *loop, struct http_task *task)
{
    struct http_loop *l = get(loop);
    if (task->queued)
        return;
    task->queued = true;
    TAILQ_INSERT_TAIL(&l->tasks, task, link);
    uv_prepare_start(&l->prepare, run_tasks);
}

void http_loop_cancel(uv_loop_t *loop, struct http_task *task)
{
    if (!task->queued)
        return;
    task->queued = false;
    TAILQ_REMOVE(&get(loop)->tasks, task, link);
}

char *http_loop_scratch(uv_loop_t *loop, size_t *ret_size)
{
    struct http_loop *l = get(loop);
    if (!l->scratch)
        l->scratch = xmalloc(SCRATCH_SIZE);
    *ret_size = SCRATCH_SIZE;
    return l->scratch;
}

static void handle_closed(uv_handle_t *handle)
{
    struct http_loop *l = handle->data;
    if (--l->open_handles == 0) {
        free(l->scratch);
        free(l);
    }
}

void http_loop_done(uv_loop_t *loop)
{
    struct http_loop *l = loop->data;
    if (!l)
        return;
    loop->data = NULL;
    uv_close((uv_handle_t *)&l->prepare, handle_closed);
    uv_close((uv_handle_t *)&l->idle, handle_closed);
}
