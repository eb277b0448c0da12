/* SPDX-License-Identifier: Apache-2.0 */
/* Whose creation is next. The launcher works through what it is given in order, so it is given only
 * a few at a time, and the projects take turns: a thousand creations of one of them cost another
 * that wants a single one no more than a short wait. */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>

struct turns;
struct turn_lane;

enum { TURNS_AT_ONCE = 16 }; /* about what the launcher has under way side by side */

/* Embedded in who waits; zeroed at first. */
struct turn {
    TAILQ_ENTRY(turn) link;
    struct turn_lane *lane; /* while it waits */
    struct turns *turns;    /* while it waits or has the turn */
    void (*ready)(struct turn *turn);
};

struct turns *turns_new(void);
/* Nobody may wait any more. NULL is fine. */
void turns_free(struct turns *turns);
/* True: it is the project's turn at once. Otherwise ready is called when it has come. */
bool turn_take(struct turns *turns, struct turn *turn, const char *project,
               void (*ready)(struct turn *turn));
/* How many wait. */
unsigned turns_waiting(const struct turns *turns);
/* Gives it back, or stops waiting; harmless when neither. May call another's ready. */
void turn_end(struct turn *turn);
