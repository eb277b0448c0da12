/* SPDX-License-Identifier: Apache-2.0 */
/* Whole sandboxes that wait for somebody to ask for them, for the templates that --pool names.
 *
 * The pool is the server's alone: to the launcher they are sandboxes like all others, with their
 * final id, host name, limits and network from the beginning. What a request brings (variables,
 * tokens, time-out, metadata) the server gives one when it is taken, and only then is there a row for
 * it in the store. So whatever dies at whatever moment: without a row it is nobody's, and is
 * destroyed when the server and the launcher next compare what they have; with a row it was taken.
 * A request for anything else than what the waiting ones are is served by making a new one. */
#pragma once

#include <stddef.h>

#include "base/err.h"

struct launcher_limits;
struct pool;
struct sandbox;
struct server;
struct template;

/* Reads "NAME=COUNT,…" or "none"; with err what is wrong with it. Nobody keeps text. */
int pool_check(const char *text, struct err *err);

struct pool *pool_new(struct server *server);
/* Begins to fill it; called when the server serves. */
void pool_start(struct pool *pool);
/* Destroys all that wait and makes no more. */
void pool_stop(struct pool *pool);
/* NULL is fine. The sandboxes live on. */
void pool_close(struct pool *pool);

/* How many of the sandboxes in the server's list are the pool's. */
size_t pool_count(const struct pool *pool);
/* One that is just like that, taken out of the pool for good; NULL: there is none. */
struct sandbox *pool_take(struct pool *pool, const struct template *template,
                          const struct launcher_limits *limits);

/* Told by sandbox.c: one that was made for the pool is ready, or one of the pool's is coming to its
 * end (before that, being made has failed, or it died). */
void pool_ready(struct sandbox *sandbox);
void pool_lost(struct sandbox *sandbox, const struct err *err);
