/* SPDX-License-Identifier: Apache-2.0 */
/* inotify instances. */
#include "agent/inotify.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/mem.h"

enum { SPARE_MAX = 4 };

static int spare[SPARE_MAX];
static size_t spare_count;

int inotify_acquire(void)
{
    if (spare_count)
        return spare[--spare_count];
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

struct closing {
    uv_work_t work;
    int fd;
};

static void close_run(uv_work_t *work)
{
    close(CONTAINER_OF(work, struct closing, work)->fd);
}

static void close_done(uv_work_t *work, int status)
{
    free(CONTAINER_OF(work, struct closing, work));
}

void inotify_release(uv_loop_t *loop, int fd, bool is_empty)
{
    char dropped[4096];
    if (is_empty && spare_count < SPARE_MAX) {
        /* What is left is about watches that are gone; descriptors of watches are not used again. */
        while (read(fd, dropped, sizeof dropped) > 0)
            continue;
        spare[spare_count++] = fd;
        return;
    }
    struct closing *c = xmalloc(sizeof *c);
    c->fd = fd;
    uv_queue_work(loop, &c->work, close_run, close_done);
}

int inotify_watch_fd(int fd, int dir, const char *path, uint32_t mask)
{
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", dir);
    int wd = inotify_add_watch(fd, self, mask);
    if (wd < 0 && errno == ENOENT)
        wd = inotify_add_watch(fd, path, mask);
    return wd < 0 ? -errno : wd;
}
