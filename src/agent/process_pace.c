/* SPDX-License-Identifier: Apache-2.0 */
/* Reading from processes that write without a pause. The kernel lets whoever waits for a pipe run at
 * every single write, so the two would take turns with a few KiB each; in control groups of their own
 * they always do. Such a pipe is read by the clock instead, ten thousand times a second, and made
 * large enough for what comes meanwhile. */
#include <fcntl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agent/process-internal.h"
#include "base/clock.h"
#include "base/fd.h"

enum {
    FLOOD_BYTES = 4096,         /* that many in a turn, ... */
    FLOOD_NS = 1000 * 1000,     /* ... the next turn so soon, ... */
    FLOOD_TURNS = 8,            /* ... and so often: that is a flood */
    REST_NS = 100 * 1000,       /* between two looks at it */
    PIPE_BYTES = 256 << 10,     /* more than comes in that time */
};

static void due(uv_poll_t *poll, int status, int events)
{
    struct process_table *table = poll->data;
    struct process_channel *c = table->resting;
    uint64_t times;
    if (read(table->pace_fd, &times, sizeof times) < 0)
        return;
    /* Who floods on comes to the front of the list again, behind our back. */
    table->resting = NULL;
    table->woken = c;
    while ((c = table->woken)) {
        table->woken = c->next_resting;
        c->resting = false;
        process_channel_turn(c);
    }
}

static bool open_timer(struct process_table *table)
{
    if (table->pace_fd >= 0)
        return true;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0 || uv_poll_init(table->loop, &table->pace, fd) < 0) {
        fd_closep(&fd);
        return false;
    }
    table->pace_fd = fd;
    table->pace.data = table;
    table->handles++;
    uv_poll_start(&table->pace, UV_READABLE, due);
    uv_unref((uv_handle_t *)&table->pace);
    return true;
}

bool process_pace_floods(struct process_channel *c, size_t came)
{
    int64_t now = clock_mono_ns();
    bool soon = now - c->turn_at < FLOOD_NS;
    c->turn_at = now;
    c->turns = came >= FLOOD_BYTES && soon ? c->turns + 1 : 0;
    return c->kind != SPOOL_PTY && c->turns >= FLOOD_TURNS;
}

bool process_pace_rest(struct process_channel *c)
{
    struct process_table *table = c->process->table;
    const struct itimerspec rest = {.it_value = {.tv_nsec = REST_NS}};
    if (c->resting)
        return true;
    if (!open_timer(table))
        return false;
    if (c->turns == FLOOD_TURNS)
        fcntl(c->fd, F_SETPIPE_SZ, PIPE_BYTES); /* as large as it is will do, too */
    if (!table->resting)
        timerfd_settime(table->pace_fd, 0, &rest, NULL);
    c->next_resting = table->resting;
    table->resting = c;
    c->resting = true;
    return true;
}

void process_pace_forget(struct process_channel *c)
{
    struct process_table *table = c->process->table;
    struct process_channel **lists[] = {&table->resting, &table->woken};
    if (!c->resting)
        return;
    c->resting = false;
    for (int i = 0; i < 2; i++)
        for (struct process_channel **link = lists[i]; *link; link = &(*link)->next_resting)
            if (*link == c) {
                *link = c->next_resting;
                return;
            }
}
