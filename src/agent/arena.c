/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that outlives an agent. */
#include "agent/arena.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

enum {
    PAGE = 4096,
    WARM = 4, /* free segments whose pages are kept, for who needs one next */
};

struct head {
    uint32_t slots_end;
    uint32_t ends[2]; /* first id never used: in memory, on disk */
    uint64_t config;  /* which copy << 32 | length + 1; 0: none */
    _Alignas(16) char journal[ARENA_JOURNAL];
};

struct config_copy {
    char text[ARENA_CONFIG_MAX];
};

struct record {
    _Alignas(PAGE) char bytes[ARENA_RECORD];
};

struct segment_bytes {
    _Alignas(PAGE) char bytes[ARENA_SEGMENT];
};

/* As mapped. */
struct layout {
    struct head head;
    _Alignas(PAGE) struct arena_life lives[ARENA_SLOTS];
    struct record records[ARENA_SLOTS];
    _Alignas(PAGE) struct config_copy configs[2];
    _Alignas(PAGE) struct arena_segment table[ARENA_MEMORY + ARENA_DISK];
    struct segment_bytes segments[ARENA_MEMORY];
};

struct free_list {
    uint32_t *ids;
    size_t count, room;
};

struct arena {
    struct layout *at;
    int fd;
    struct free_list slots, segments[2];
    uint32_t warm[WARM];
    size_t warm_count;
};

static const uint32_t first_id[2] = {0, ARENA_MEMORY};
static const uint32_t last_id[2] = {ARENA_MEMORY, ARENA_MEMORY + ARENA_DISK};

static void push(struct free_list *list, uint32_t id)
{
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 64;
        list->ids = xrealloc(list->ids, list->room * sizeof *list->ids);
    }
    list->ids[list->count++] = id;
}

struct arena *arena_new(void)
{
    _cleanup_close_ int fd = memfd_create("carrel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* Sealed, so that nobody can take a page away from under init. */
    if (fd < 0 || ftruncate(fd, sizeof(struct layout)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return NULL;
    struct arena *a = arena_from(TAKE_FD(fd));
    if (!a)
        return NULL;
    a->at->head.ends[0] = first_id[0];
    a->at->head.ends[1] = first_id[1];
    return a;
}

int arena_fd(const struct arena *a)
{
    return a->fd;
}

struct arena *arena_from(int fd_taken)
{
    _cleanup_close_ int fd = fd_taken;
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size != (off_t)sizeof(struct layout))
        return NULL;
    void *p = mmap(NULL, sizeof(struct layout), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                   fd, 0);
    if (p == MAP_FAILED)
        return NULL;
    struct arena *a = xcalloc(1, sizeof *a);
    a->at = p;
    a->fd = TAKE_FD(fd);
    return a;
}

void arena_free(struct arena *a)
{
    munmap(a->at, sizeof *a->at);
    fd_closep(&a->fd);
    free(a->slots.ids);
    free(a->segments[0].ids);
    free(a->segments[1].ids);
    free(a);
}

static uint32_t state_of(const struct arena *a, uint32_t slot)
{
    uint32_t state;
    memcpy(&state, a->at->records[slot].bytes, sizeof state);
    return state;
}

void arena_recover(struct arena *a)
{
    struct head *head = &a->at->head;
    /* Whatever a crash has left: never beyond the mapping. */
    if (head->slots_end > ARENA_SLOTS)
        head->slots_end = ARENA_SLOTS;
    a->slots.count = a->segments[0].count = a->segments[1].count = a->warm_count = 0;
    for (uint32_t slot = head->slots_end; slot-- > 0;)
        if (state_of(a, slot) == 0)
            arena_slot_give(a, slot);
    for (int disk = 0; disk < 2; disk++) {
        if (head->ends[disk] < first_id[disk] || head->ends[disk] > last_id[disk])
            head->ends[disk] = last_id[disk];
        for (uint32_t id = head->ends[disk]; id-- > first_id[disk];)
            if (a->at->table[id].owner == 0)
                push(&a->segments[disk], id);
    }
}

/* ---- slots ---- */

uint32_t arena_lives(const struct arena *a, struct arena_life **ret)
{
    uint32_t end = __atomic_load_n(&a->at->head.slots_end, __ATOMIC_RELAXED);
    *ret = a->at->lives;
    return end < ARENA_SLOTS ? end : ARENA_SLOTS;
}

struct arena_life *arena_life(const struct arena *a, uint32_t slot)
{
    return &a->at->lives[slot];
}

uint32_t arena_slots_end(const struct arena *a)
{
    return a->at->head.slots_end;
}

void *arena_record(const struct arena *a, uint32_t slot)
{
    assert(slot < ARENA_SLOTS);
    return a->at->records[slot].bytes;
}

uint32_t arena_slot_take(struct arena *a)
{
    if (a->slots.count)
        return a->slots.ids[--a->slots.count];
    if (a->at->head.slots_end == ARENA_SLOTS)
        return ARENA_NONE;
    return a->at->head.slots_end++;
}

void arena_slot_give(struct arena *a, uint32_t slot)
{
    memset(a->at->records[slot].bytes, 0, sizeof(uint32_t));
    ARENA_STEP();
    a->at->lives[slot] = (struct arena_life){0};
    push(&a->slots, slot);
}

/* ---- segments ---- */

uint32_t arena_segment_take(struct arena *a, bool disk)
{
    if (!disk && a->warm_count)
        return a->warm[--a->warm_count];
    struct free_list *list = &a->segments[disk];
    if (list->count)
        return list->ids[--list->count];
    if (a->at->head.ends[disk] == last_id[disk])
        return ARENA_NONE;
    return a->at->head.ends[disk]++;
}

static void give_pages(void *p, size_t n)
{
    madvise(p, n, MADV_REMOVE); /* a hole in the file: without it the pages stay, that is all */
}

void arena_segment_give(struct arena *a, uint32_t id)
{
    bool disk = id >= ARENA_MEMORY;
    struct arena_segment *segment = arena_segment(a, id);
    size_t pages = (segment->used + PAGE - 1) / PAGE;
    segment->owner = 0;
    if (!disk && pages > 1 && a->warm_count < WARM) {
        a->warm[a->warm_count++] = id;
        return;
    }
    if (!disk)
        give_pages(arena_segment_bytes(a, id), ARENA_SEGMENT);
    push(&a->segments[disk], id);
}

struct arena_segment *arena_segment(const struct arena *a, uint32_t id)
{
    assert(id < ARENA_MEMORY + ARENA_DISK);
    return &a->at->table[id];
}

char *arena_segment_bytes(const struct arena *a, uint32_t id)
{
    assert(id < ARENA_MEMORY);
    return a->at->segments[id].bytes;
}

void arena_segments_each(const struct arena *a,
                         void (*fn)(uint32_t id, struct arena_segment *segment, void *arg),
                         void *arg)
{
    for (int disk = 0; disk < 2; disk++)
        for (uint32_t id = first_id[disk]; id < a->at->head.ends[disk]; id++)
            if (a->at->table[id].owner)
                fn(id, &a->at->table[id], arg);
}

void arena_trim(struct arena *a)
{
    while (a->warm_count) {
        uint32_t id = a->warm[--a->warm_count];
        give_pages(arena_segment_bytes(a, id), ARENA_SEGMENT);
        push(&a->segments[0], id);
    }
    for (size_t i = 0; i < a->slots.count; i++)
        give_pages(arena_record(a, a->slots.ids[i]), ARENA_RECORD);
}

/* ---- journal and configuration ---- */

void *arena_journal(const struct arena *a)
{
    return a->at->head.journal;
}

struct str arena_config(const struct arena *a)
{
    uint64_t now = a->at->head.config;
    size_t len = (size_t)(uint32_t)now;
    if (len == 0 || len > ARENA_CONFIG_MAX + 1)
        return (struct str){NULL, 0};
    return (struct str){a->at->configs[now >> 32 & 1].text, len - 1};
}

int arena_config_save(struct arena *a, struct str text)
{
    if (text.len > ARENA_CONFIG_MAX)
        return -EMSGSIZE;
    uint64_t other = ~(a->at->head.config >> 32) & 1;
    memcpy(a->at->configs[other].text, text.p, text.len);
    ARENA_STEP();
    a->at->head.config = other << 32 | (text.len + 1);
    return 0;
}
