/* SPDX-License-Identifier: Apache-2.0 */
/* Where the segments of spools are: memory, then disk, then gone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/spool-internal.h"
#include "base/fd.h"
#include "base/mem.h"

enum {
    PAGE = 4096,
    RING_FIRST = 4,
    LOOK_EVERY = 16, /* segments written between two looks at the file system's free space */
};

static size_t pages(uint32_t used)
{
    return ((size_t)used + PAGE - 1) / PAGE * PAGE;
}

static bool on_disk(uint32_t id)
{
    return id >= ARENA_MEMORY;
}

static off_t disk_offset(uint32_t id)
{
    return (off_t)(id - ARENA_MEMORY) * ARENA_SEGMENT;
}

/* ---- the pool ---- */

void spool_pool_init(struct spool_pool *pool, struct arena *arena,
                     const struct spool_limits *limits)
{
    *pool = (struct spool_pool){
        .arena = arena, .limits = *limits, .directory = "/", .disk_fd = -1, .cache_id = ARENA_NONE};
}

void spool_pool_trim(struct spool_pool *pool)
{
    free(TAKE_PTR(pool->cache));
    pool->cache_id = ARENA_NONE;
    arena_trim(pool->arena);
}

void spool_pool_done(struct spool_pool *pool)
{
    free(TAKE_PTR(pool->cache));
    fd_closep(&pool->disk_fd);
}

static void list_remove(struct spool *s)
{
    struct spool_pool *pool = s->pool;
    *(s->previous ? &s->previous->next : &pool->oldest) = s->next;
    *(s->next ? &s->next->previous : &pool->newest) = s->previous;
    s->previous = s->next = NULL;
}

static void list_add(struct spool *s)
{
    struct spool_pool *pool = s->pool;
    s->next = NULL;
    s->previous = pool->newest;
    *(pool->newest ? &pool->newest->next : &pool->oldest) = s;
    pool->newest = s;
}

/* ---- disk ---- */

static void open_disk(struct spool_pool *pool)
{
    pool->disk_fd = open(pool->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (pool->disk_fd < 0) {
        char name[512];
        snprintf(name, sizeof name, "%s/.carrel-spool.XXXXXX", pool->directory);
        pool->disk_fd = mkostemp(name, O_CLOEXEC);
        if (pool->disk_fd >= 0)
            unlink(name);
    }
    pool->disk_broken = pool->disk_fd < 0;
    if (!pool->disk_broken && pool->made)
        pool->made(pool->disk_fd, pool->made_arg);
}

/* Leaves a sixteenth of the disk to those whose disk it is. */
static bool disk_has_room(struct spool_pool *pool, size_t n)
{
    struct statvfs st;
    if (pool->disk + n > pool->limits.disk)
        return false;
    if (pool->disk / ARENA_SEGMENT % LOOK_EVERY)
        return true;
    return fstatvfs(pool->disk_fd, &st) < 0 || st.f_bavail > st.f_blocks / 16;
}

static bool write_disk(int fd, const char *p, size_t n, off_t at)
{
    while (n) {
        ssize_t done = pwrite(fd, p, n, at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
        at += done;
    }
    return true;
}

/* Moves the oldest segment in memory to disk. At every moment one of the two is complete. */
static bool to_disk(struct spool *s)
{
    struct spool_pool *pool = s->pool;
    uint32_t from_id = spool_id(s, s->in_memory);
    struct arena_segment *from = arena_segment(pool->arena, from_id);
    if (pool->disk_fd < 0 && !pool->disk_broken && pool->limits.disk)
        open_disk(pool);
    if (pool->disk_fd < 0 || !disk_has_room(pool, from->used))
        return false;
    uint32_t id = arena_segment_take(pool->arena, true);
    if (id == ARENA_NONE)
        return false;
    struct arena_segment *to = arena_segment(pool->arena, id);
    if (!write_disk(pool->disk_fd, arena_segment_bytes(pool->arena, from_id), from->used,
                    disk_offset(id))) {
        arena_segment_give(pool->arena, id);
        return false;
    }
    to->used = from->used;
    to->sequence = from->sequence;
    to->offset = from->offset;
    ARENA_STEP();
    to->owner = from->owner;
    ARENA_STEP();
    pool->memory -= pages(from->used);
    pool->disk += from->used;
    arena_segment_give(pool->arena, from_id);
    s->ring[s->in_memory++ & (s->ring_size - 1)] = id;
    return true;
}

static const char *read_disk(struct spool_pool *pool, uint32_t id)
{
    const struct arena_segment *segment = arena_segment(pool->arena, id);
    if (pool->cache && pool->cache_id == id && pool->cache_offset == segment->offset)
        return pool->cache;
    if (!pool->cache)
        pool->cache = xmalloc(ARENA_SEGMENT);
    pool->cache_id = ARENA_NONE;
    size_t have = 0;
    while (have < segment->used) {
        ssize_t n = pread(pool->disk_fd, pool->cache + have, segment->used - have,
                          disk_offset(id) + (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return NULL;
        have += (size_t)n;
    }
    pool->cache_id = id;
    pool->cache_offset = segment->offset;
    return pool->cache;
}

const char *spool_bytes(const struct spool *s, uint64_t sequence)
{
    uint32_t id = spool_id(s, sequence);
    return on_disk(id) ? read_disk(s->pool, id) : arena_segment_bytes(s->pool->arena, id);
}

/* ---- giving up segments ---- */

static void ftruncate_all(int fd)
{
    if (ftruncate(fd, 0) < 0)
        return; /* it stays as large as it is: no harm but the space */
}

/* punch: give its place on disk back at once. It costs more than writing there again, so while there
 * is a backlog it is left for the next segment; with the last one the whole file goes. */
static void drop_oldest(struct spool *s, bool punch)
{
    struct spool_pool *pool = s->pool;
    uint32_t id = spool_id(s, s->first), used = arena_segment(pool->arena, id)->used;
    s->bytes -= used;
    if (on_disk(id)) {
        pool->disk -= used;
        if (pool->disk == 0)
            ftruncate_all(pool->disk_fd);
        else if (punch)
            fallocate(pool->disk_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, disk_offset(id),
                      ARENA_SEGMENT);
    } else {
        pool->memory -= pages(used);
        s->in_memory++;
    }
    arena_segment_give(pool->arena, id);
    if (++s->first == s->last)
        list_remove(s);
}

void spool_drop_newest(struct spool *s)
{
    arena_segment_give(s->pool->arena, spool_id(s, --s->last));
    if (s->in_memory > s->last)
        s->in_memory = s->last;
    if (s->first == s->last)
        list_remove(s);
}

static uint64_t segment_end(const struct spool *s, uint64_t sequence)
{
    return sequence + 1 < s->last ? spool_segment(s, sequence + 1)->offset : *s->end;
}

uint64_t spool_at_stake(const struct spool *s)
{
    const struct spool_pool *pool = s->pool;
    uint64_t most = pool->limits.process_memory / SPOOL_SEGMENT;
    bool memory_full =
        s->last - s->in_memory >= most || pool->memory + SPOOL_SEGMENT > pool->limits.memory;
    bool disk_full = pool->disk_broken || pool->disk + SPOOL_SEGMENT > pool->limits.disk;
    if (s->first == s->last ||
        (s->bytes + SPOOL_SEGMENT <= pool->limits.process && !(memory_full && disk_full)))
        return 0;
    return segment_end(s, s->first);
}

/* Makes the spool hold one segment less in memory. */
static void retire(struct spool *s)
{
    uint64_t before = s->in_memory;
    while (s->in_memory == before) {
        bool history = segment_end(s, s->first) <= s->needed && !s->keep;
        if (history || !to_disk(s))
            drop_oldest(s, false);
    }
}

/* The spool that has not grown for longest gives up a segment of memory. */
static bool retire_any(struct spool_pool *pool)
{
    for (struct spool *s = pool->oldest; s; s = s->next) {
        if (s->in_memory < s->last) {
            retire(s);
            return true;
        }
    }
    return false;
}

void spool_trim(struct spool *s, uint64_t offset)
{
    const struct spool_limits *limits = &s->pool->limits;
    size_t history = s->pool->memory > limits->memory / 2 ? 0 : limits->history;
    if (offset > s->needed)
        s->needed = offset;
    if (s->keep)
        return;
    while (s->last - s->first > 1 && segment_end(s, s->first) + history <= s->needed)
        drop_oldest(s, false);
}

/* ---- new segments ---- */

static void ring_add(struct spool *s, uint32_t id)
{
    if (s->last - s->first == s->ring_size) {
        uint32_t size = s->ring_size ? 2 * s->ring_size : RING_FIRST;
        uint32_t *ring = xmalloc(size * sizeof *ring);
        for (uint64_t i = s->first; i < s->last; i++)
            ring[i & (size - 1)] = spool_id(s, i);
        free(s->ring);
        s->ring = ring;
        s->ring_size = size;
    }
    s->ring[s->last++ & (s->ring_size - 1)] = id;
}

bool spool_add_segment(struct spool *s)
{
    struct spool_pool *pool = s->pool;
    const struct spool_limits *limits = &pool->limits;
    uint64_t most = limits->process_memory / SPOOL_SEGMENT;
    while (s->first < s->last && s->bytes + SPOOL_SEGMENT > limits->process)
        drop_oldest(s, false);
    while (s->in_memory < s->last && s->last - s->in_memory >= (most ? most : 1))
        retire(s);
    while (pool->memory + SPOOL_SEGMENT > limits->memory && retire_any(pool))
        continue;
    uint32_t id = arena_segment_take(pool->arena, false);
    if (id == ARENA_NONE)
        return false;
    struct arena_segment *segment = arena_segment(pool->arena, id);
    segment->used = 0;
    segment->sequence = s->last;
    segment->offset = *s->end;
    ARENA_STEP();
    segment->owner = s->slot + 1;
    if (s->first < s->last)
        list_remove(s);
    ring_add(s, id);
    list_add(s);
    return true;
}

void spool_set_used(struct spool *s, struct arena_segment *segment, uint32_t used)
{
    s->bytes += used - segment->used;
    s->pool->memory += pages(used) - pages(segment->used);
    segment->used = used;
}

/* ---- life ---- */

void spool_init(struct spool *s, struct spool_pool *pool, uint32_t slot, uint64_t *end)
{
    *s = (struct spool){
        .pool = pool,
        .slot = slot,
        .end = end,
        .first = 1, /* so that a new cursor's hint, 0, is behind */
        .in_memory = 1,
        .last = 1,
    };
}

void spool_done(struct spool *s)
{
    while (s->first < s->last)
        drop_oldest(s, true);
    free(TAKE_PTR(s->ring));
    s->ring_size = 0;
}

uint64_t spool_begin(const struct spool *s)
{
    return s->first < s->last ? spool_segment(s, s->first)->offset : *s->end;
}

/* ---- after the death of an agent ---- */

struct recovery {
    struct spool_pool *pool;
    struct spool *(*find)(uint32_t slot, void *arg);
    void *arg;
    struct found {
        struct spool *s;
        uint64_t sequence;
        uint32_t id;
    } * found;
    size_t count, room;
};

static void recover_segment(uint32_t id, struct arena_segment *segment, void *arg)
{
    struct recovery *r = arg;
    uint32_t slot = segment->owner - 1;
    struct spool *s = slot < ARENA_SLOTS ? r->find(slot, r->arg) : NULL;
    bool good = segment->used <= ARENA_SEGMENT && (!on_disk(id) || r->pool->disk_fd >= 0);
    if (s && segment->sequence == 0)
        return; /* not output: the record's */
    if (!s || !good) {
        arena_segment_give(r->pool->arena, id);
        return;
    }
    if (r->count == r->room) {
        r->room = r->room ? 2 * r->room : 64;
        r->found = xrealloc(r->found, r->room * sizeof *r->found);
    }
    r->found[r->count++] = (struct found){s, segment->sequence, id};
}

static int compare(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->s != y->s)
        return (uintptr_t)x->s < (uintptr_t)y->s ? -1 : 1;
    if (x->sequence != y->sequence)
        return x->sequence < y->sequence ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id; /* memory first */
}

/* Adds a segment behind those that the spool has, or begins anew with it where the row is broken. */
static void adopt(struct spool *s, const struct found *f)
{
    struct spool_pool *pool = s->pool;
    const struct arena_segment *segment = arena_segment(pool->arena, f->id);
    bool empty = s->first == s->last;
    if (!empty && f->sequence == s->last - 1) { /* on its way to disk: memory came first */
        arena_segment_give(pool->arena, f->id);
        return;
    }
    if (!empty && (f->sequence != s->last || (on_disk(f->id) && s->in_memory < s->last) ||
                   segment->offset < spool_segment(s, s->last - 1)->offset)) {
        while (s->first < s->last)
            drop_oldest(s, false);
        empty = true;
    }
    if (empty) {
        s->first = s->last = s->in_memory = f->sequence;
        list_add(s);
    }
    ring_add(s, f->id);
    if (on_disk(f->id)) {
        s->in_memory = s->last;
        pool->disk += segment->used;
    } else {
        pool->memory += pages(segment->used);
    }
    s->bytes += segment->used;
}

/* What the newest one holds beyond the end has not been committed; what it lacks is lost. */
static void settle(struct spool *s)
{
    struct spool_pool *pool = s->pool;
    while (s->first < s->last && spool_segment(s, s->last - 1)->offset > *s->end)
        drop_oldest(s, false);
    if (s->in_memory == s->last)
        return;
    struct arena_segment *newest = spool_segment(s, s->last - 1);
    uint32_t used = newest->used;
    spool_cut_tail(s);
    s->bytes -= used - newest->used;
    pool->memory -= pages(used) - pages(newest->used);
}

void spool_pool_recover(struct spool_pool *pool, struct spool *(*find)(uint32_t slot, void *arg),
                        void *arg)
{
    struct recovery r = {.pool = pool, .find = find, .arg = arg};
    arena_segments_each(pool->arena, recover_segment, &r);
    if (r.count)
        qsort(r.found, r.count, sizeof *r.found, compare);
    for (size_t i = 0; i < r.count; i++) {
        adopt(r.found[i].s, &r.found[i]);
        if (i + 1 == r.count || r.found[i + 1].s != r.found[i].s)
            settle(r.found[i].s);
    }
    free(r.found);
}
