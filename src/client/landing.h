/* SPDX-License-Identifier: Apache-2.0 */
/* A local file that appears under its name when it is complete, and never before. Where the file system
 * can, it has no name until then, so that not even a kill -9 leaves anything. */
#pragma once

#include <stdint.h>

struct landing {
    int fd;       /* to be written to */
    int dir;      /* of the target */
    char *name;   /* of the target, in dir */
    char *hidden; /* its name until it is complete, NULL: none */
};

/* dir may be AT_FDCWD. 0 or -errno. Symbolic links in the directories of path are followed, one at its
 * end is replaced. */
int landing_open(struct landing *landing, int dir, const char *path);
/* Gives it mode, time (-1: now) and name, in place of what has it. 0 or -errno. */
int landing_finish(struct landing *landing, unsigned mode, int64_t mtime_ns);
/* Due in any case. What was not finished is gone. */
void landing_done(struct landing *landing);
