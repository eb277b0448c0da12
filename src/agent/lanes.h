/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads for what may be held up by the sandbox's own limits: the start of a process, which
 * competes with everything that runs in the sandbox for memory and CPU time until it has become its
 * program. The loop goes on meanwhile. Not the pool of file jobs, so that neither holds up the other.
 *
 * Threads come when they are needed and go when they have had nothing to do for a while: a resting
 * sandbox has none. */
#pragma once

#include <uv.h>

enum { LANES_MAX = 4 };

struct lanes;
struct lane_job {
    void (*run)(struct lane_job *job);  /* in a thread */
    void (*done)(struct lane_job *job); /* in the loop */
    struct lane_job *next;
};

struct lanes *lanes_new(uv_loop_t *loop);
/* Waits for the jobs under way and queued; done is called for them. NULL is fine. The loop must run
 * once more for the memory to go. */
void lanes_free(struct lanes *lanes);
/* The job is the lanes' until done is called; done is never called from inside. Jobs begin in order.
 * When not even one thread is to be had, the job is run at once. */
void lanes_add(struct lanes *lanes, struct lane_job *job);
