/* SPDX-License-Identifier: Apache-2.0 */
/* What init keeps for the agent, so that the agent may die: the arena (agent/arena.h) and a copy of
 * every descriptor that a process hangs on. The next agent is forked from init and so simply has
 * them all; nothing is sent back and nothing is parsed.
 *
 * The agent tells init by short messages of one fixed form over a socket pair that no other process
 * ever has. init answers only by a byte that means "a process that was your predecessor's child has
 * ended: look into the lives". All of it works without an init too (tests): then nothing is kept. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/arena.h"
#include "base/buf.h"

enum keep_place { KEEP_IN, KEEP_OUT, KEEP_ERR, KEEP_PLACES };

enum {
    KEEP_DISK = ARENA_SLOTS, /* the slot whose KEEP_IN is the spool file */
    KEEP_SLOTS,
};

struct keep;

/* ---- init's side ---- */

/* NULL when memory or descriptors ran out. */
struct keep *keep_new(void);
struct arena *keep_arena(const struct keep *k);
/* A new link, for the agent that is about to be forked; it calls keep_became_agent, init the other. */
int keep_link_open(struct keep *k);
void keep_became_agent(struct keep *k);
void keep_became_parent(struct keep *k);
/* init's end, to be watched for reading; -1 when there is none. */
int keep_link(const struct keep *k);
/* Takes what the agent has said, all of it. */
void keep_serve(struct keep *k);
/* The agent is dead and keep_serve has been called: closes the link. */
void keep_link_close(struct keep *k);
/* What a keep hangs on, as numbers of descriptors that are from now on passed on to a program; and
 * the keep in that program. In the agent, after keep_became_agent. 0 or negative errno; NULL. */
int keep_pack(struct keep *k, struct buf *out);
struct keep *keep_unpack(struct str text);
/* A child of init is about to be reaped: remembers how it ended if it is one of the agent's. */
void keep_ended(struct keep *k, const siginfo_t *info);

/* ---- the agent's side ---- */

/* A keep without an init. */
struct keep *keep_new_alone(void);
void keep_free(struct keep *k);
/* Hands over copies; -1 where there is none. The places of the slot must be empty. */
void keep_hold(struct keep *k, uint32_t slot, const int fds[KEEP_PLACES]);
/* init closes these of its copies; mask: 1 << place. */
void keep_drop(struct keep *k, uint32_t slot, unsigned mask);
/* A descriptor of the time before: moved to the caller. -1 if there is none. */
int keep_take(struct keep *k, uint32_t slot, enum keep_place place);
/* Closes all that have not been taken. */
void keep_take_end(struct keep *k);
/* The two ends of the pipe through which output is read: what is in it when an agent dies is there
 * for the next. Non-blocking. */
int keep_transfer_read(const struct keep *k);
int keep_transfer_write(const struct keep *k);
/* The agent's end of the link, to be watched for reading; -1 without an init. */
int keep_news(const struct keep *k);
/* Takes the news off the link. */
void keep_news_taken(struct keep *k);
