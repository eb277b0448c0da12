/* SPDX-License-Identifier: Apache-2.0 */
/* One thread for what need not be done at once: removing the files of dead sandboxes, making parts
 * of new ones in advance. Jobs run in order; the owner is told through a descriptor to poll. */
#pragma once

#include <stdbool.h>

struct worker;
struct worker_job {
    void (*run)(struct worker_job *job);  /* in the thread; must touch nothing the owner touches */
    void (*done)(struct worker_job *job); /* in the owner's thread, from worker_collect */
    struct worker_job *next;
};

/* NULL with errno set when there is no thread to be had. */
struct worker *worker_new(void);
/* Finishes the jobs under way and queued, and calls done for them. NULL is fine. */
void worker_free(struct worker *worker);

/* Readable when worker_collect has something to do. */
int worker_fd(const struct worker *worker);
/* The job is the worker's until done is called. */
void worker_add(struct worker *worker, struct worker_job *job);
/* The same, before all others that wait. */
void worker_add_first(struct worker *worker, struct worker_job *job);
/* What a thread that works ahead or clears away asks for. Not less: at idle priority it would get
 * nothing at all on a host whose sandboxes use all processors, and would keep the kernel's locks
 * that it holds from everybody. */
enum { WORKER_NICE = 10 };
/* From now on, the job under way included: with WORKER_NICE; or as everything else, which is also the
 * state at the start. */
void worker_set_idle(struct worker *worker, bool idle);
void worker_collect(struct worker *worker);
