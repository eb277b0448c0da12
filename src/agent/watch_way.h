/* SPDX-License-Identifier: Apache-2.0 */
/* The directories on the way to a watched path, on the watcher's own inotify instance: a watch is of a
 * path, and what happens to the directories above decides what that path means. Says only that it is
 * time to look again; knows nothing of what is below the path.
 *
 * A symlink on the way is followed when the way is taken; what moves behind it is noticed as far as
 * the directories that it led through then. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WATCH_WAY_MAX = 64 }; /* directories looked after; of a longer way the nearest to its end */

struct watch_way {
    int fd;           /* inotify, borrowed */
    const char *path; /* borrowed */
    int wds[WATCH_WAY_MAX];
    size_t count;
    int last;         /* the nearest directory that is there; -1: none is watched */
    size_t name, len; /* what is looked for in it: where its name stands in the path */
    bool
        dangling; /* that name is a symlink to nothing: no event will tell when it leads somewhere */
};

void watch_way_init(struct watch_way *way, int fd, const char *path);
/* Watches the way as it is just now. Whoever waits looks at the path behind this call. */
void watch_way_take(struct watch_way *way);
void watch_way_leave(struct watch_way *way);
/* Whether what was not there when the way was taken is still not there: then its coming will be an
 * event. */
bool watch_way_holds(const struct watch_way *way);
/* Whether an event of the instance means that the path may lead elsewhere now. name: NULL for an
 * event of the directory itself. */
bool watch_way_concerns(const struct watch_way *way, int wd, uint32_t mask, const char *name);
