/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body given to something that takes it synchronously: on the loop while that is quick,
 * otherwise by a worker, two buffers in turn, and the socket is not read while both are full. So
 * memory is bounded by them and a slow disk holds up nobody else. */
#pragma once

#include "agent/job.h"
#include "base/buf.h"
#include "base/err.h"

struct body_work;

/* `work` is what is embedded at the owner's. feed and finish run on the loop or in a thread, never
 * both at once; 0, or the HTTP status to answer with and *err, and nothing is fed any more. */
struct body_work_ops {
    int (*feed)(struct body_work *work, struct str bytes, struct err *err);
    int (*finish)(struct body_work *work, struct err *err); /* the body is complete */
    /* Whether n more bytes can be fed on the loop. After the first false never asked again. */
    bool (*is_quick)(const struct body_work *work, size_t n);
    void (*answer)(struct body_work *work); /* finish was well */
    void (*free)(struct body_work *work);
};

struct body_work {
    struct job job; /* first */
    const struct body_work_ops *ops;
    struct buf waiting; /* received, not yet processed */
    struct buf taken;   /* the worker's */
    bool heavy;         /* a worker has been needed: it does the rest, too */
    bool ended;         /* the body is complete */
    bool finish;        /* this work is the last */
    bool answered;
    int status;
    struct err err;
};

/* Takes over the exchange, and `work` (a zeroed member of the owner's) until ops->free. */
void body_work_start(struct body_work *work, struct http_exchange *x,
                     const struct body_work_ops *ops);
