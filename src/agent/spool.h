/* SPDX-License-Identifier: Apache-2.0 */
/* The output of one process between its pipes and its readers: a bounded queue of chunks, in the
 * order they were read, standard output and error mixed as they came.
 *
 * Every byte has an offset, counted from the process's first byte over all kinds. The spool holds
 * the bytes from spool_begin to spool_end. Readers are cursors outside of it: any number, each at
 * its own place, none registered. The owner trims what nobody needs any more; when the bound is hit
 * the oldest go. A cursor that falls behind spool_begin finds itself moved there and is told how
 * much it missed. So a slow reader costs memory up to the bound, and never time of anybody else.
 *
 * Chunks are at most SPOOL_CHUNK bytes and are handed out as they were committed: who commits whole
 * characters reads whole characters. Memory is taken in segments as output comes; an empty spool
 * holds none. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SPOOL_CHUNK = 32 << 10,
    SPOOL_SEGMENT = 64 << 10,
};

enum spool_kind { SPOOL_STDOUT, SPOOL_STDERR, SPOOL_PTY };

struct spool_segment;

/* Where the spools of a process table take their segments from. Keeps one emptied segment for
 * whoever needs one next, so that a busy process does not make the allocator give and take the same
 * pages. When all spools together hold more than `budget` segments, each is bounded to the least. */
struct spool_pool {
    struct spool_segment *spare;
    size_t held;
    size_t budget;
};

struct spool {
    struct spool_pool *pool;     /* borrowed */
    struct spool_segment **ring; /* segments by sequence number modulo ring_size */
    uint32_t ring_size;          /* one more than may be held between calls */
    uint32_t head;               /* position of the oldest chunk in its segment */
    uint32_t tail;               /* position of the newest chunk in its segment */
    uint64_t first, last;        /* sequence numbers: the oldest segment, one past the newest */
    uint64_t head_offset;        /* of the oldest chunk's first byte */
    uint64_t begin, end;         /* offsets of the bytes held */
    bool extending;              /* the reservation continues the newest chunk */
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
    const char *p; /* valid until the spool is changed */
    size_t len;
};

/* limit: most bytes held, rounded up to segments; at least two. */
void spool_init(struct spool *s, size_t limit, struct spool_pool *pool);
void spool_done(struct spool *s);
void spool_pool_done(struct spool_pool *pool);

/* Room for up to *ret_room (> 0, at most SPOOL_CHUNK) more bytes of this kind, to be written in
 * place and made part of the spool by spool_commit, before any other call. */
char *spool_reserve(struct spool *s, enum spool_kind kind, size_t *ret_room);
/* n <= the room; 0 gives the reservation back. Drops the oldest bytes when the bound is passed. */
void spool_commit(struct spool *s, enum spool_kind kind, size_t n);
/* Copies n bytes in, n <= SPOOL_CHUNK. */
void spool_append(struct spool *s, enum spool_kind kind, const void *p, size_t n);

/* True when the next commit may drop something. */
bool spool_full(const struct spool *s);
/* Bytes it may hold now. */
size_t spool_capacity(const struct spool *s);
static inline uint64_t spool_begin(const struct spool *s)
{
    return s->begin;
}
static inline uint64_t spool_end(const struct spool *s)
{
    return s->end;
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
