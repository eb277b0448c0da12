/* SPDX-License-Identifier: Apache-2.0 */
/* The output of one process between its pipes and its readers: chunks in segments. Where segments
 * are, and for how long, is decided in spool_store.c.
 *
 * What a killed agent leaves: *end is written last by a commit, so the newest segment may hold more
 * than *end says; spool_pool_recover cuts it there. */
#include <assert.h>

#include "agent/spool-internal.h"
#include "base/mem.h"

enum {
    ALIGNMENT = sizeof(struct spool_head),
    CAPACITY = 2 * (SPOOL_CHUNK + (int)sizeof(struct spool_head)) + 64,
    SMALL = SPOOL_CHUNK / 8, /* a chunk below this is continued; room below this is not used */
    /* The end of a segment that only spool_append's small pieces may use: the rest of a character
     * at the end of the output must not push out a whole segment of it. */
    LAST = 64,
    FILL = CAPACITY - LAST,
};
_Static_assert(CAPACITY <= (int)ARENA_SEGMENT, "a segment of output fits one of the arena");

static uint32_t padded(uint32_t len)
{
    return (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The newest segment if it can be written to. */
static struct arena_segment *open_segment(const struct spool *s)
{
    return s->in_memory < s->last ? spool_segment(s, s->last - 1) : NULL;
}

static char *open_bytes(const struct spool *s)
{
    return arena_segment_bytes(s->pool->arena, spool_id(s, s->last - 1));
}

static struct spool_head *newest_head(const struct spool *s)
{
    return (struct spool_head *)(void *)(open_bytes(s) + s->tail);
}

/* ---- writing ---- */

/* Whether a new chunk of `least` bytes fits the newest segment, up to `limit` in it. */
static bool has_room(const struct spool *s, uint32_t least, uint32_t limit)
{
    const struct arena_segment *segment = open_segment(s);
    return segment && segment->used + sizeof(struct spool_head) + least <= limit;
}

static char *reserve(struct spool *s, enum spool_kind kind, uint32_t least, uint32_t limit,
                     size_t *ret_room)
{
    const struct arena_segment *segment = open_segment(s);
    s->extending = false;
    if (segment && segment->used) {
        struct spool_head *newest = newest_head(s);
        uint32_t at = s->tail + (uint32_t)sizeof *newest + newest->len;
        if (newest->kind == (uint32_t)kind && newest->len < SMALL && at + least <= limit) {
            size_t left = limit - at;
            *ret_room = left < SPOOL_CHUNK - newest->len ? left : SPOOL_CHUNK - newest->len;
            s->extending = true;
            return open_bytes(s) + at;
        }
    }
    if (!has_room(s, least, limit) && !spool_add_segment(s))
        return NULL;
    uint32_t used = open_segment(s)->used;
    size_t left = limit - used - sizeof(struct spool_head);
    *ret_room = left < SPOOL_CHUNK ? left : SPOOL_CHUNK;
    return open_bytes(s) + used + sizeof(struct spool_head);
}

char *spool_reserve(struct spool *s, enum spool_kind kind, size_t *ret_room)
{
    return reserve(s, kind, SMALL, FILL, ret_room);
}

void spool_commit(struct spool *s, enum spool_kind kind, size_t n)
{
    struct arena_segment *segment = open_segment(s);
    if (n == 0) {
        if (segment->used == 0)
            spool_drop_newest(s);
        return;
    }
    if (!s->extending) {
        s->tail = segment->used;
        *newest_head(s) = (struct spool_head){0, (uint32_t)kind};
    }
    struct spool_head *newest = newest_head(s);
    newest->len += (uint32_t)n;
    spool_set_used(s, segment, s->tail + (uint32_t)sizeof *newest + padded(newest->len));
    assert(segment->used <= CAPACITY);
    ARENA_STEP();
    *s->end += n;
}

void spool_append(struct spool *s, enum spool_kind kind, const void *p, size_t n)
{
    const char *from = p;
    while (n) {
        size_t room;
        char *to = n <= LAST / 4 ? reserve(s, kind, (uint32_t)n, CAPACITY, &room)
                                 : spool_reserve(s, kind, &room);
        if (!to)
            return;
        size_t part = n < room ? n : room;
        memcpy(to, from, part);
        spool_commit(s, kind, part);
        from += part;
        n -= part;
    }
}

/* ---- after the death of an agent ---- */

/* Makes the newest segment hold what *end says. */
void spool_cut_tail(struct spool *s)
{
    struct arena_segment *segment = open_segment(s);
    if (!segment)
        return;
    uint32_t position = 0, used = segment->used < CAPACITY ? segment->used : CAPACITY;
    uint64_t left = *s->end - segment->offset;
    s->tail = 0;
    while (left && position + sizeof(struct spool_head) <= used) {
        s->tail = position;
        struct spool_head *head = newest_head(s);
        if (head->len > CAPACITY - position - sizeof *head)
            head->len = CAPACITY - position - (uint32_t)sizeof *head;
        if (head->len > left)
            head->len = (uint32_t)left;
        left -= head->len;
        position += (uint32_t)sizeof *head + padded(head->len);
    }
    segment->used = position;
}

uint64_t spool_place(const struct spool *s)
{
    return (uint64_t)spool_id(s, s->last - 1) << 1 | s->extending;
}

char *spool_reserve_again(struct spool *s, uint64_t place)
{
    const struct arena_segment *segment = open_segment(s);
    if (!segment || spool_id(s, s->last - 1) != place >> 1)
        return NULL;
    s->extending = place & 1 && segment->used;
    if (s->extending)
        return (char *)(newest_head(s) + 1) + newest_head(s)->len;
    return open_bytes(s) + segment->used + sizeof(struct spool_head);
}

/* ---- reading ---- */

/* The segment that holds an offset between begin and end. */
static uint64_t find_segment(const struct spool *s, uint64_t offset)
{
    uint64_t low = s->first, high = s->last;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (spool_segment(s, middle)->offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void go_to(const struct spool *s, struct spool_cursor *c, uint64_t sequence)
{
    c->sequence = sequence;
    c->position = 0;
    c->chunk = spool_segment(s, sequence)->offset;
}

/* Skips what cannot be read back. */
static void skip_segment(const struct spool *s, struct spool_cursor *c)
{
    uint64_t next = c->sequence + 1 < s->last ? spool_segment(s, c->sequence + 1)->offset : *s->end;
    c->missed += next - c->offset;
    c->offset = next;
}

/* The chunk at the cursor's offset in its segment, or false when the segment has come to its end. */
static bool read_chunk(const struct spool *s, struct spool_cursor *c, struct spool_chunk *ret)
{
    const struct arena_segment *segment = spool_segment(s, c->sequence);
    const char *bytes = spool_bytes(s, c->sequence);
    while (bytes && c->position + sizeof(struct spool_head) <= segment->used) {
        struct spool_head head;
        memcpy(&head, bytes + c->position, sizeof head);
        /* On disk anybody may have written who is root in here. */
        if (head.len == 0 || head.len > segment->used - c->position - sizeof head ||
            head.kind > SPOOL_PTY)
            break;
        if (c->offset - c->chunk < head.len) {
            size_t skip = (size_t)(c->offset - c->chunk);
            *ret = (struct spool_chunk){(enum spool_kind)head.kind,
                                        bytes + c->position + sizeof head + skip, head.len - skip};
            return true;
        }
        c->chunk += head.len;
        c->position += (uint32_t)sizeof head + padded(head.len);
    }
    return false;
}

bool spool_read(const struct spool *s, struct spool_cursor *c, struct spool_chunk *ret)
{
    uint64_t begin = spool_begin(s);
    if (c->offset < begin) {
        c->missed += begin - c->offset;
        c->offset = begin;
    }
    while (c->offset < *s->end) {
        if (c->sequence < s->first || c->sequence >= s->last || c->chunk > c->offset)
            go_to(s, c, find_segment(s, c->offset));
        if (read_chunk(s, c, ret))
            return true;
        if (c->sequence + 1 < s->last && spool_segment(s, c->sequence + 1)->offset <= c->offset)
            go_to(s, c, c->sequence + 1);
        else
            skip_segment(s, c);
    }
    return false;
}

void spool_advance(struct spool_cursor *c, size_t n)
{
    c->offset += n;
}
