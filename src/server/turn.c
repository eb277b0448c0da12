/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes of waiting creations, one for each project that has any, served in rotation. */
#include "server/turn.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

TAILQ_HEAD(turn_list, turn);

struct turn_lane {
    TAILQ_ENTRY(turn_lane) link;
    struct turn_list waiting; /* never empty */
    char project[];
};

struct turns {
    TAILQ_HEAD(, turn_lane) lanes; /* the first is next */
    unsigned under_way, waiting;
    bool serving; /* serve is on the stack */
};

struct turns *turns_new(void)
{
    struct turns *turns = xcalloc(1, sizeof *turns);
    TAILQ_INIT(&turns->lanes);
    return turns;
}

void turns_free(struct turns *turns)
{
    assert(!turns || TAILQ_EMPTY(&turns->lanes));
    free(turns);
}

static struct turn_lane *lane_of(struct turns *turns, const char *project)
{
    struct turn_lane *lane;
    TAILQ_FOREACH(lane, &turns->lanes, link)
        if (strcmp(lane->project, project) == 0)
            return lane;
    size_t size = strlen(project) + 1;
    lane = xcalloc(1, sizeof *lane + size);
    memcpy(lane->project, project, size);
    TAILQ_INIT(&lane->waiting);
    TAILQ_INSERT_TAIL(&turns->lanes, lane, link);
    return lane;
}

static void leave_lane(struct turn *turn)
{
    struct turn_lane *lane = TAKE_PTR(turn->lane);
    turn->turns->waiting--;
    TAILQ_REMOVE(&lane->waiting, turn, link);
    if (TAILQ_EMPTY(&lane->waiting)) {
        TAILQ_REMOVE(&turn->turns->lanes, lane, link);
        free(lane);
    }
}

bool turn_take(struct turns *turns, struct turn *turn, const char *project,
               void (*ready)(struct turn *turn))
{
    assert(!turn->turns);
    turn->turns = turns;
    if (turns->under_way < TURNS_AT_ONCE) {
        turns->under_way++;
        return true;
    }
    turns->waiting++;
    turn->ready = ready;
    turn->lane = lane_of(turns, project);
    TAILQ_INSERT_TAIL(&turn->lane->waiting, turn, link);
    return false;
}

unsigned turns_waiting(const struct turns *turns)
{
    return turns->waiting;
}

/* A loop, not a recursion: whoever is served may give its turn back at once. */
static void serve(struct turns *turns)
{
    struct turn_lane *lane;
    if (turns->serving)
        return;
    turns->serving = true;
    while (turns->under_way < TURNS_AT_ONCE && (lane = TAILQ_FIRST(&turns->lanes))) {
        struct turn *turn = TAILQ_FIRST(&lane->waiting);
        TAILQ_REMOVE(&turns->lanes, lane, link);
        TAILQ_INSERT_TAIL(&turns->lanes, lane, link);
        leave_lane(turn);
        turns->under_way++;
        turn->ready(turn);
    }
    turns->serving = false;
}

void turn_end(struct turn *turn)
{
    struct turns *turns = turn->turns;
    if (!turns)
        return;
    if (turn->lane) {
        leave_lane(turn);
        turn->turns = NULL;
        return;
    }
    turn->turns = NULL;
    turns->under_way--;
    serve(turns);
}
