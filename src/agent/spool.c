/* SPDX-License-Identifier: Apache-2.0 */
/* The output of one process between its pipes and its readers. */
#include "agent/spool.h"

#include <assert.h>

#include "base/mem.h"

/* A chunk in a segment: its head, then the bytes, then padding to the next head. */
struct head {
    uint32_t len;
    uint32_t kind;
};

enum {
    ALIGNMENT = sizeof(struct head),
    CAPACITY = 2 * (SPOOL_CHUNK + (int)sizeof(struct head)) + 64,
    LEAST = 2,               /* segments that a spool may hold in any case */
    SMALL = SPOOL_CHUNK / 8, /* a chunk below this is continued; room below this is not used */
    /* The end of a segment that only spool_append's small pieces may use: the rest of a character
     * at the end of the output must not push out a whole segment of it. */
    LAST = 64,
    FILL = CAPACITY - LAST,
};

/* Untouched pages of a segment cost nothing, so a process that says little takes little. */
struct spool_segment {
    uint64_t offset; /* of its first byte */
    uint32_t used;   /* where the next head goes */
    _Alignas(ALIGNMENT) char bytes[CAPACITY];
};

static uint32_t padded(uint32_t len)
{
    return (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static struct spool_segment *segment_at(const struct spool *s, uint64_t sequence)
{
    return s->ring[sequence % s->ring_size];
}

static struct head *head_at(const struct spool *s, uint64_t sequence, uint32_t position)
{
    return (struct head *)(void *)(segment_at(s, sequence)->bytes + position);
}

/* ---- segments ---- */

static void add_segment(struct spool *s)
{
    struct spool_segment *segment = TAKE_PTR(s->pool->spare);
    if (!segment)
        segment = xmalloc(sizeof *segment);
    s->pool->held++;
    segment->offset = s->end;
    segment->used = 0;
    if (!s->ring)
        s->ring = xcalloc(s->ring_size, sizeof(struct spool_segment *));
    s->ring[s->last++ % s->ring_size] = segment;
}

static void put_back(struct spool *s, struct spool_segment *segment)
{
    s->pool->held--;
    if (s->pool->spare)
        free(segment);
    else
        s->pool->spare = segment;
}

static void drop_oldest(struct spool *s)
{
    put_back(s, segment_at(s, s->first++));
    s->head = 0;
    s->head_offset = s->first < s->last ? segment_at(s, s->first)->offset : s->end;
}

static void drop_all(struct spool *s)
{
    while (s->first < s->last)
        drop_oldest(s);
}

/* ---- life ---- */

void spool_init(struct spool *s, size_t limit, struct spool_pool *pool)
{
    size_t segments = (limit + SPOOL_SEGMENT - 1) / SPOOL_SEGMENT;
    *s = (struct spool){
        .pool = pool,
        .ring_size = (uint32_t)(segments < LEAST ? LEAST : segments) + 1,
        .first = 1, /* so that a new cursor's hint, 0, is behind */
        .last = 1,
    };
}

void spool_done(struct spool *s)
{
    drop_all(s);
    free(s->ring);
    s->ring = NULL;
}

void spool_pool_done(struct spool_pool *pool)
{
    free(TAKE_PTR(pool->spare));
}

/* ---- writing ---- */

/* Segments this spool may hold. */
static uint64_t allowed(const struct spool *s)
{
    return s->pool->held > s->pool->budget ? LEAST : s->ring_size - 1;
}

/* Whether a new chunk of `least` bytes fits the last segment, up to `limit` in it. */
static bool last_has_room(const struct spool *s, uint32_t least, uint32_t limit)
{
    return s->first < s->last &&
           segment_at(s, s->last - 1)->used + sizeof(struct head) + least <= limit;
}

static char *reserve(struct spool *s, enum spool_kind kind, uint32_t least, uint32_t limit,
                     size_t *ret_room)
{
    s->extending = false;
    if (s->first < s->last) {
        struct spool_segment *segment = segment_at(s, s->last - 1);
        struct head *newest = head_at(s, s->last - 1, s->tail);
        uint32_t at = s->tail + (uint32_t)sizeof *newest + newest->len;
        if (newest->kind == (uint32_t)kind && newest->len < SMALL && at + least <= limit) {
            size_t left = limit - at;
            *ret_room = left < SPOOL_CHUNK - newest->len ? left : SPOOL_CHUNK - newest->len;
            s->extending = true;
            return segment->bytes + at;
        }
    }
    if (!last_has_room(s, least, limit))
        add_segment(s);
    struct spool_segment *segment = segment_at(s, s->last - 1);
    size_t left = limit - segment->used - sizeof(struct head);
    *ret_room = left < SPOOL_CHUNK ? left : SPOOL_CHUNK;
    return segment->bytes + segment->used + sizeof(struct head);
}

char *spool_reserve(struct spool *s, enum spool_kind kind, size_t *ret_room)
{
    return reserve(s, kind, SMALL, FILL, ret_room);
}

void spool_commit(struct spool *s, enum spool_kind kind, size_t n)
{
    struct spool_segment *segment = segment_at(s, s->last - 1);
    if (n == 0) {
        if (segment->used == 0) {
            s->last--;
            put_back(s, segment);
        }
        return;
    }
    if (!s->extending) {
        s->tail = segment->used;
        *head_at(s, s->last - 1, s->tail) = (struct head){0, (uint32_t)kind};
    }
    struct head *newest = head_at(s, s->last - 1, s->tail);
    newest->len += (uint32_t)n;
    segment->used = s->tail + (uint32_t)sizeof *newest + padded(newest->len);
    s->end += n;
    assert(segment->used <= CAPACITY);
    while (s->last - s->first > allowed(s))
        drop_oldest(s);
    if (s->begin < s->head_offset)
        s->begin = s->head_offset;
}

void spool_append(struct spool *s, enum spool_kind kind, const void *p, size_t n)
{
    const char *from = p;
    while (n) {
        size_t room;
        char *to = n <= LAST / 4 ? reserve(s, kind, (uint32_t)n, CAPACITY, &room)
                                 : spool_reserve(s, kind, &room);
        size_t part = n < room ? n : room;
        memcpy(to, from, part);
        spool_commit(s, kind, part);
        from += part;
        n -= part;
    }
}

bool spool_full(const struct spool *s)
{
    return s->last - s->first >= allowed(s) && !last_has_room(s, SMALL, FILL);
}

size_t spool_capacity(const struct spool *s)
{
    return (size_t)allowed(s) * SPOOL_SEGMENT;
}

/* ---- reading ---- */

void spool_trim(struct spool *s, uint64_t offset)
{
    if (offset <= s->begin)
        return;
    assert(offset <= s->end);
    s->begin = offset;
    if (s->begin == s->end) {
        drop_all(s);
        return;
    }
    for (;;) {
        struct head *oldest = head_at(s, s->first, s->head);
        if (s->head_offset + oldest->len > offset)
            return;
        s->head_offset += oldest->len;
        s->head += (uint32_t)sizeof *oldest + padded(oldest->len);
        if (s->head == segment_at(s, s->first)->used)
            drop_oldest(s);
    }
}

bool spool_read(const struct spool *s, struct spool_cursor *c, struct spool_chunk *ret)
{
    if (c->offset < s->begin) {
        c->missed += s->begin - c->offset;
        c->offset = s->begin;
    }
    if (c->offset >= s->end)
        return false;
    if (c->sequence < s->first || c->chunk < s->head_offset) {
        c->sequence = s->first;
        c->position = s->head;
        c->chunk = s->head_offset;
    }
    for (;;) {
        if (c->position == segment_at(s, c->sequence)->used) {
            c->sequence++;
            c->position = 0;
            continue;
        }
        const struct head *head = head_at(s, c->sequence, c->position);
        if (c->offset - c->chunk < head->len) {
            size_t skip = (size_t)(c->offset - c->chunk);
            *ret = (struct spool_chunk){(enum spool_kind)head->kind,
                                        (const char *)(head + 1) + skip, head->len - skip};
            return true;
        }
        c->chunk += head->len;
        c->position += (uint32_t)sizeof *head + padded(head->len);
    }
}

void spool_advance(struct spool_cursor *c, size_t n)
{
    c->offset += n;
}
