/* SPDX-License-Identifier: Apache-2.0 */
/* What the http module keeps per libuv loop: work put off to the end of the turn, and one read
 * buffer shared by all connections. It lives in loop->data, which is reserved for it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <uv.h>

/* Embedded in what wants to run later; zeroed at first. */
struct http_task {
    TAILQ_ENTRY(http_task) link;
    void (*run)(struct http_task *task);
    bool queued;
};

/* Runs task->run once before the loop next waits for events. Already queued: nothing happens. */
void http_loop_defer(uv_loop_t *loop, struct http_task *task);
/* Takes a queued task out again; required before its memory goes. */
void http_loop_cancel(uv_loop_t *loop, struct http_task *task);

/* The shared read buffer. Its content is valid only until the caller returns to the loop; nothing
 * that may read another stream can be called while it is in use (resume defers for this reason). */
char *http_loop_scratch(uv_loop_t *loop, size_t *ret_size);

/* Before uv_loop_close: closes the handles behind it (run the loop once more afterwards). */
void http_loop_done(uv_loop_t *loop);
