/* SPDX-License-Identifier: Apache-2.0 */
/* The output of one process between its pipes and its readers: a bounded queue of chunks, in the
 * order they were read, standard output and error mixed as they came. It lives in the arena
 * (agent/arena.h) and on disk, so it outlives the agent.
 *
 * Every byte has an offset, counted from the process's first byte over all kinds. The spool holds
 * the bytes from spool_begin to spool_end. Readers are cursors outside of it: any number, each at
 * its own place, none registered. The owner says by spool_trim what nobody needs any more; a little
 * of that is kept as history, for readers that come back. When the bound is hit the oldest go. A
 * cursor that falls behind spool_begin finds itself moved there and is told how much it missed. So a
 * slow reader costs memory, then disk, up to the bound, and never time of anybody else.
 *
 * Segments. New output goes into a segment in memory. When a spool, or all of them together, hold
 * more memory than they may, the oldest segments move to one unlinked file; when that may not grow,
 * the oldest are dropped. On disk or in memory, reading is the same.
 *
 * Chunks are at most SPOOL_CHUNK bytes and are handed out as they were committed: who commits whole
 * characters reads whole characters. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/arena.h"

enum {
    SPOOL_CHUNK = 32 << 10,
    SPOOL_SEGMENT = 64 << 10, /* output in a full segment, about */
};

enum spool_kind { SPOOL_STDOUT, SPOOL_STDERR, SPOOL_PTY };

struct spool_limits {
    size_t memory;         /* bytes of memory of all spools together */
    size_t disk;           /* bytes on disk, of all spools together */
    size_t process_memory; /* of one */
    size_t process;        /* of one, memory and disk */
    size_t history;        /* kept of what nobody needs any more, of one */
};

struct spool;

/* What the spools of a process table share. */
struct spool_pool {
    struct arena *arena; /* borrowed */
    struct spool_limits limits;
    const char *directory;           /* where the file is made; borrowed */
    void (*made)(int fd, void *arg); /* the file has been made; may be NULL */
    void *made_arg;
    size_t memory, disk;           /* held now */
    struct spool *oldest, *newest; /* in the order of their last new segment */
    int disk_fd;                   /* -1: not yet made */
    bool disk_broken;              /* could not be made */
    char *cache;                   /* one segment read back from disk */
    uint32_t cache_id;             /* its id and, as ids are used again, its offset */
    uint64_t cache_offset;
};

struct spool {
    struct spool_pool *pool;       /* borrowed */
    struct spool *previous, *next; /* in the pool's list, while it holds a segment */
    uint64_t *end;                 /* in the record: the offset after the last byte */
    uint32_t slot;
    uint32_t *ring;     /* segment ids by sequence number modulo ring_size */
    uint32_t ring_size; /* a power of two, or 0 */
    uint64_t first, in_memory,
        last;        /* sequence numbers: oldest, oldest in memory, past the newest */
    size_t bytes;    /* used in all its segments */
    uint64_t needed; /* bytes before this offset are history */
    uint32_t tail;   /* position of the newest chunk in its segment */
    bool extending;  /* the reservation continues the newest chunk */
    bool keep;       /* history is bounded by limits.process only */
};

struct spool_cursor {
    uint64_t offset; /* next byte to read */
    uint64_t missed; /* bytes that were gone before the cursor came to them */
    /* Where it last read, a hint: segment, position in it, and offset of that chunk. */
    uint64_t sequence;
    uint32_t position;
    uint64_t chunk;
};

struct spool_chunk {
    enum spool_kind kind;
    const char *p; /* valid until the spool, or another one, is read or changed */
    size_t len;
};

void spool_pool_init(struct spool_pool *pool, struct arena *arena,
                     const struct spool_limits *limits);
void spool_pool_done(struct spool_pool *pool);
/* Gives back what is only kept for speed. */
void spool_pool_trim(struct spool_pool *pool);

/* A slot's spool. *end is in the slot's record and says how much output there has ever been. */
void spool_init(struct spool *s, struct spool_pool *pool, uint32_t slot, uint64_t *end);
void spool_done(struct spool *s);

/* After the death of an agent: the spools find their segments again. find gives a slot's spool, or
 * NULL: then the segment is freed. A commit that was under way has not happened. */
void spool_pool_recover(struct spool_pool *pool, struct spool *(*find)(uint32_t slot, void *arg),
                        void *arg);
/* Where the last reservation lies, in a form that another agent understands, and the reservation
 * again there, with the bytes that were written to it. NULL if it is not to be found. */
uint64_t spool_place(const struct spool *s);
char *spool_reserve_again(struct spool *s, uint64_t place);

/* Room for up to *ret_room (> 0, at most SPOOL_CHUNK) more bytes of this kind, to be written in
 * place and made part of the spool by spool_commit, before any other call. May move or drop the
 * oldest. NULL when there is no memory at all. */
char *spool_reserve(struct spool *s, enum spool_kind kind, size_t *ret_room);
/* n <= the room; 0 gives the reservation back. */
void spool_commit(struct spool *s, enum spool_kind kind, size_t n);
/* Copies n bytes in. */
void spool_append(struct spool *s, enum spool_kind kind, const void *p, size_t n);

/* Output before this offset may be dropped by the next spool_reserve; 0: none. */
uint64_t spool_at_stake(const struct spool *s);

uint64_t spool_begin(const struct spool *s);
static inline uint64_t spool_end(const struct spool *s)
{
    return *s->end;
}

/* The bytes before offset are not needed any more. */
void spool_trim(struct spool *s, uint64_t offset);

/* A cursor at an offset (at most spool_end). */
static inline struct spool_cursor spool_cursor_at(uint64_t offset)
{
    return (struct spool_cursor){.offset = offset};
}
/* The chunk (or what is left of it) at the cursor; false at the end. The cursor stays until
 * spool_advance, except that it is moved to the oldest byte when it has fallen behind. */
bool spool_read(const struct spool *s, struct spool_cursor *c, struct spool_chunk *ret);
/* n <= the len of the chunk just read. */
void spool_advance(struct spool_cursor *c, size_t n);
