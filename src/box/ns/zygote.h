/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's side of the zygote: starting it, asking it for sandboxes. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "box/ns/seccomp.h"
#include "box/plan.h"

struct zygote {
    pid_t pid;
    int sock; /* to poll; -1: not running */
};

/* A sealed memory file with the program's bytes, to be executed. fd or -errno. */
int zygote_load_image(const void *image, size_t size);
/* The filter as a memory file. fd or -errno. */
int zygote_load_filter(const struct seccomp_filter *filter);

/* Starts the program in the groups that the join_count descriptors lead to; all descriptors stay the
 * caller's. keep_stderr leaves init and agent the
 * caller's standard error: for development only, since it is a door out of the sandbox. */
int zygote_start(int image_fd, int filter_fd, const int *joins, size_t join_count, bool keep_stderr,
                 struct zygote *ret, struct err *err);
/* Ends and reaps it. Sandboxes live on. Fine for one that is not running. */
void zygote_stop(struct zygote *zygote);

/* Asks for a sandbox; handles[] are those of the plan, -1 for none, and stay the caller's. */
int zygote_ask(const struct zygote *zygote, const struct box_inside *inside,
               const int handles[BOX_HANDLES], const char *config, struct err *err);
/* The next answer. 1 with *ret (and *ret_pidfd, owned, or -1), 0 if there is none now, -errno if
 * the zygote is gone. */
int zygote_answer(const struct zygote *zygote, struct box_born *ret, int *ret_pidfd);
