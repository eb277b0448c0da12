/* SPDX-License-Identifier: Apache-2.0 */
/* Blocking work in libuv's threads for the sake of one exchange, once or piece by piece. The threads
 * are started by the first job ever: what is small is done on the loop without one. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "http/server.h"

struct job;

struct job_ops {
    void (*run)(struct job *job);  /* in a thread; touches nothing but the job's own */
    void (*done)(struct job *job); /* back on the loop; not called once the exchange has closed */
    void (*drained)(
        struct job *job); /* the response was taken, and no run is under way; may be NULL */
    void (*free)(struct job *job); /* the exchange has closed, and no run is under way */
};

/* Embedded as the owner's member. */
struct job {
    const struct job_ops *ops;
    struct http_exchange *x; /* NULL once it has closed */
    uv_loop_t *loop;
    uv_work_t work;
    bool working;
    bool has_run; /* in a thread, at least once */
};

/* Takes over the exchange's events. From here on the job is freed by ops->free, after `closed`. */
void job_attach(struct job *job, struct http_exchange *x, const struct job_ops *ops);
/* Runs once. Not while a run is under way. */
void job_start(struct job *job);
