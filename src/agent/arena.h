/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that outlives an agent: one sparse, sealed memory file that init makes before it forks
 * the first agent, and that every agent inherits. What the agent knows of its processes is in here
 * at every moment, so that the next agent finds it whatever killed the one before.
 *
 * It holds, in this order: a head; the lives (what init and the agent tell each other about pids); a
 * record of one page for each process, opaque to this file; two copies of the configuration, of which
 * the head names the current one; a table of segments; and the segments in memory. Segments on disk
 * have entries in the same table, their bytes are the owner's business (agent/spool.c).
 *
 * A slot or segment is in use when its first word says so: that word is written last when it is
 * taken and first when it is given back, so a process killed between two instructions leaves nothing
 * half used. Free lists are the agent's own and rebuilt by arena_recover. Untouched pages cost
 * nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

enum {
    ARENA_SLOTS = 20480, /* processes, running and remembered */
    ARENA_RECORD = 4096,
    ARENA_CONFIG_MAX = 1 << 20,
    ARENA_SEGMENT = 68 << 10, /* bytes of a segment, whole pages */
    ARENA_MEMORY = 24576,     /* segments in memory: ids 0 and up */
    ARENA_DISK = 8192,        /* segments on disk: ids ARENA_MEMORY and up */
    ARENA_JOURNAL = 256,
    ARENA_NONE = UINT32_MAX,
};

/* What has become of a slot's process. The kernel writes the pid at the clone; whoever reaps the
 * process writes how it ended, then `ended`, and only then lets go of the pid: so a pid here that
 * has not ended is that process and no other. */
struct arena_life {
    int32_t pid;  /* 0: none */
    int32_t code; /* si_code and si_status */
    int32_t status;
    uint32_t ended;
};

struct arena_segment {
    uint32_t owner; /* slot + 1; 0: free */
    uint32_t used;  /* bytes */
    uint64_t sequence;
    uint64_t offset; /* of the first byte of output in it */
};

struct arena;

/* A fresh arena, mapped. NULL when there is no memory file to be had. */
struct arena *arena_new(void);
void arena_free(struct arena *a);
/* Its memory file, and an arena of such a file (the descriptor is taken over): for an agent that is
 * another program than init. NULL when it is none of ours. */
int arena_fd(const struct arena *a);
struct arena *arena_from(int fd);
/* After a fork by init, in the new agent: takes stock of what is used. */
void arena_recover(struct arena *a);

/* For init: the lives that may be in use. The result counts them. */
uint32_t arena_lives(const struct arena *a, struct arena_life **ret);
struct arena_life *arena_life(const struct arena *a, uint32_t slot);

/* A record's first word is its state, 0 is free; the owner sets it. Other bytes of a slot just taken
 * are undefined, but its life is empty. ARENA_NONE when all are in use. */
uint32_t arena_slot_take(struct arena *a);
/* Sets the state to 0 and empties the life. */
void arena_slot_give(struct arena *a, uint32_t slot);
void *arena_record(const struct arena *a, uint32_t slot);
/* Slots below this may be in use. */
uint32_t arena_slots_end(const struct arena *a);

/* A free segment, to be made used by writing its owner. ARENA_NONE when there is none. */
uint32_t arena_segment_take(struct arena *a, bool disk);
/* Sets the owner to 0. Pages of memory go back to the system, but for a few that are kept warm. */
void arena_segment_give(struct arena *a, uint32_t id);
struct arena_segment *arena_segment(const struct arena *a, uint32_t id);
char *arena_segment_bytes(const struct arena *a, uint32_t id);
/* Segments in use, in no order: calls back for each. Only after arena_recover. */
void arena_segments_each(const struct arena *a,
                         void (*fn)(uint32_t id, struct arena_segment *segment, void *arg),
                         void *arg);
/* Gives all pages of free slots and segments back. */
void arena_trim(struct arena *a);

/* ARENA_JOURNAL bytes, zero at first: what is under way. */
void *arena_journal(const struct arena *a);

/* The configuration last saved; .p == NULL if none was. Valid until the next is saved. */
struct str arena_config(const struct arena *a);
/* 0, or -EMSGSIZE. */
int arena_config_save(struct arena *a, struct str text);

/* Keeps the compiler from moving stores over this point: what a killed process has done is what
 * its code did up to an instruction, no fence is needed for that. */
#define ARENA_STEP() __atomic_signal_fence(__ATOMIC_SEQ_CST)
