/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: an id, a language, a directory, and a kernel that runs one execution after another.
 *
 * Executions of one context wait in a queue, contexts run side by side. A context outlives its
 * kernel: when that dies, whoever waited is told, and the next execution gets a new one. */
#pragma once

#include <jansson.h>
#include <sys/queue.h>
#include <uv.h>

#include "base/err.h"
#include "http/server.h"

struct context;
struct contexts;

/* Starts the nursery. Of the languages, python and javascript have a default context from the start,
 * whose kernel starts when it is needed or, python's, when there is nothing better to do. */
struct contexts *contexts_new(uv_loop_t *loop);

/* NULL if there is none. */
struct context *contexts_find(struct contexts *all, struct str id);
/* The language's default context, made if it is missing. NULL with err set for a language that is
 * not there. The name is normalised as protocol.md 6.2 says. */
struct context *contexts_default(struct contexts *all, struct str language, struct err *err);
struct context *contexts_create(struct contexts *all, struct str language, struct str cwd,
                                struct err *err);
/* In order of creation. */
json_t *contexts_list(const struct contexts *all);

json_t *context_describe(const struct context *c);
/* Ends its kernel and whatever runs or waits. */
void context_remove(struct context *c);
/* A new kernel under the same id; what runs is told, what waits goes on with the new one. */
void context_restart(struct context *c);
/* Answers the exchange with the stream of events. env: name → text, or NULL; borrowed. When the
 * client goes away, the execution is interrupted. */
void context_execute(struct context *c, struct http_exchange *x, struct str code, json_t *env);
