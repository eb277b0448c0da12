/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a process that was killed was killed because memory ran out. The kernel counts its
 * out-of-memory kills in the control group before it sends the signal, but does not say whom it
 * killed: so a kill that has been counted belongs to the process that is found killed soon after. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct oom_kills {
    int fd;         /* memory.oom_control or memory.events; -1: nothing is known */
    uint64_t seen;  /* the count when it was last looked at */
    uint64_t open;  /* kills that no process has been found for */
    int64_t opened; /* monotonic ns; when the last one was counted, at the latest; 0: none yet */
};

/* Begins to count. The descriptor stays the caller's. */
void oom_kills_init(struct oom_kills *k, int fd);
/* Looks at the count: to be called now and then, so that a kill is not taken for a later one. */
void oom_kills_look(struct oom_kills *k, int64_t now);
/* Whether there have been some just now. */
bool oom_kills_recent(const struct oom_kills *k, int64_t now);
/* A process was found killed by a signal that we did not send. True, and one kill less to be
 * claimed, when that was for memory. */
bool oom_kills_claim(struct oom_kills *k, int64_t now);
