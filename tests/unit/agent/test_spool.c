/* SPDX-License-Identifier: Apache-2.0 */
/* spool: every byte once and in order for every reader, or counted as missed; in memory, on disk, and
 * after the death of who filled it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/spool.h"
#include "base/fd.h"
#include "base/str.h"

enum { LIMIT = 8 * SPOOL_SEGMENT, MEMORY = 4 * SPOOL_SEGMENT, MIB = 1 << 20 };

static const struct spool_limits standard = {.memory = 64 << 20, /* more than a test takes */
                                             .disk = 64 << 20,
                                             .process_memory = MEMORY,
                                             .process = LIMIT,
                                             .history = 0};
static struct spool_pool pool;
static uint64_t ends[4];

static void setup_pool(const struct spool_limits *limits)
{
    struct arena *arena = arena_new();
    assert_non_null(arena);
    spool_pool_init(&pool, arena, limits);
    pool.directory = "/tmp";
}

static void fresh(struct spool *s)
{
    setup_pool(&standard);
    ends[0] = 0;
    spool_init(s, &pool, 0, &ends[0]);
}

static void close_pool(void)
{
    assert_int_equal(pool.memory, 0);
    assert_int_equal(pool.disk, 0);
    assert_null(pool.oldest);
    spool_pool_done(&pool);
    arena_free(pool.arena);
}

static void over(struct spool *s)
{
    spool_done(s);
    close_pool();
}

/* The byte at an offset of the test output. */
static char at(uint64_t offset)
{
    return (char)(offset * 31 + offset / 257);
}

static void put(struct spool *s, enum spool_kind kind, size_t n)
{
    while (n) {
        size_t room;
        char *to = spool_reserve(s, kind, &room);
        assert_true(to && room >= 4096 && room <= SPOOL_CHUNK);
        size_t part = n < room ? n : room;
        for (size_t i = 0; i < part; i++)
            to[i] = at(spool_end(s) + i);
        spool_commit(s, kind, part);
        n -= part;
    }
}

/* Reads up to most bytes and checks them. */
static size_t get(const struct spool *s, struct spool_cursor *c, size_t most)
{
    struct spool_chunk chunk;
    size_t got = 0;
    while (got < most && spool_read(s, c, &chunk)) {
        size_t part = chunk.len < most - got ? chunk.len : most - got;
        assert_true(chunk.len > 0 && chunk.len <= SPOOL_CHUNK);
        for (size_t i = 0; i < part; i++)
            if (chunk.p[i] != at(c->offset + i))
                fail_msg("wrong byte at %llu", (unsigned long long)(c->offset + i));
        spool_advance(c, part);
        got += part;
    }
    return got;
}

static void an_empty_spool_holds_nothing(void **state)
{
    struct spool s;
    struct spool_chunk chunk;
    struct spool_cursor c = spool_cursor_at(0);
    fresh(&s);
    assert_false(spool_read(&s, &c, &chunk));
    size_t room;
    spool_reserve(&s, SPOOL_STDOUT, &room);
    spool_commit(&s, SPOOL_STDOUT, 0);
    assert_int_equal(pool.memory, 0);
    assert_null(pool.oldest);
    put(&s, SPOOL_STDOUT, 100);
    assert_int_equal(pool.memory, 4096);
    over(&s);
}

static void kinds_keep_their_order(void **state)
{
    struct spool s;
    struct spool_cursor c = spool_cursor_at(0);
    struct spool_chunk chunk;
    fresh(&s);
    spool_append(&s, SPOOL_STDOUT, "a", 1);
    spool_append(&s, SPOOL_STDOUT, "b", 1);
    spool_append(&s, SPOOL_STDERR, "c", 1);
    spool_append(&s, SPOOL_STDOUT, "d", 1);
    static const struct {
        enum spool_kind kind;
        const char *text;
    } expected[] = {{SPOOL_STDOUT, "ab"}, {SPOOL_STDERR, "c"}, {SPOOL_STDOUT, "d"}};
    for (int i = 0; i < 3; i++) {
        assert_true(spool_read(&s, &c, &chunk));
        assert_int_equal(chunk.kind, expected[i].kind);
        assert_true(str_eqz((struct str){chunk.p, chunk.len}, expected[i].text));
        spool_advance(&c, chunk.len);
    }
    assert_false(spool_read(&s, &c, &chunk));
    over(&s);
}

static void a_chunk_may_grow_behind_a_reader(void **state)
{
    struct spool s;
    struct spool_cursor c = spool_cursor_at(0);
    fresh(&s);
    for (int i = 0; i < 500; i++) {
        put(&s, SPOOL_STDOUT, 17);
        assert_int_equal(get(&s, &c, 1000), 17);
    }
    over(&s);
}

static void memory_then_disk_then_the_oldest_goes(void **state)
{
    struct spool s;
    struct spool_cursor early = spool_cursor_at(0);
    fresh(&s);
    put(&s, SPOOL_STDOUT, MEMORY - 4096);
    assert_int_equal(pool.disk, 0);
    put(&s, SPOOL_STDOUT, LIMIT / 2);
    assert_true(pool.disk > 0 && pool.memory <= MEMORY + 4 * 4096);
    assert_int_equal(get(&s, &early, 500), 500); /* from disk */
    assert_int_equal(spool_begin(&s), 0);
    put(&s, SPOOL_STDOUT, LIMIT);
    assert_true(spool_begin(&s) > 0);
    assert_true(spool_end(&s) - spool_begin(&s) <= LIMIT);
    assert_true(spool_end(&s) - spool_begin(&s) > LIMIT - 2 * SPOOL_SEGMENT);
    uint64_t missed = spool_begin(&s) - 500;
    size_t rest = (size_t)(spool_end(&s) - spool_begin(&s));
    assert_int_equal(get(&s, &early, SIZE_MAX), rest);
    assert_int_equal(early.missed, missed);
    over(&s);
}

static void without_a_disk_memory_is_the_bound(void **state)
{
    struct spool s;
    struct spool_cursor c = spool_cursor_at(0);
    fresh(&s);
    pool.limits.disk = 0;
    put(&s, SPOOL_STDOUT, 3 * LIMIT);
    assert_true(pool.memory <= MEMORY + 4 * 4096);
    uint64_t begin = spool_begin(&s);
    assert_int_equal(get(&s, &c, SIZE_MAX), 3 * LIMIT - begin);
    assert_int_equal(c.missed, begin);
    over(&s);
}

static void the_last_few_bytes_push_nothing_out(void **state)
{
    struct spool s;
    fresh(&s);
    pool.limits.disk = 0;
    for (int i = 0; i < 2 * MEMORY / SPOOL_SEGMENT; i++) {
        size_t room;
        spool_reserve(&s, SPOOL_STDOUT, &room);
        spool_commit(&s, SPOOL_STDOUT, room); /* filled to the brim */
    }
    assert_int_equal(spool_begin(&s), 0);
    spool_append(&s, SPOOL_STDERR, "\xe2\x82", 2);
    spool_append(&s, SPOOL_STDOUT, "\xe2", 1);
    assert_int_equal(spool_begin(&s), 0);
    over(&s);
}

static void trimming_keeps_the_rest_and_some_history(void **state)
{
    struct spool s;
    fresh(&s);
    pool.limits.history = 3 * SPOOL_SEGMENT;
    for (int i = 0; i < 90; i++)
        put(&s, i % 3 ? SPOOL_STDOUT : SPOOL_STDERR, 5000);
    for (uint64_t offset = 0; offset <= 450000; offset += 777) {
        spool_trim(&s, offset);
        assert_true(spool_begin(&s) <= offset);
        assert_true(spool_begin(&s) + 5 * SPOOL_SEGMENT > offset);
        struct spool_cursor c = spool_cursor_at(offset);
        assert_int_equal(get(&s, &c, SIZE_MAX), 450000 - offset);
    }
    struct spool_cursor back = spool_cursor_at(450000 - 3 * SPOOL_SEGMENT);
    assert_int_equal(get(&s, &back, SIZE_MAX), 3 * SPOOL_SEGMENT);
    assert_int_equal(back.missed, 0);
    over(&s);
}

static void all_is_kept_when_asked(void **state)
{
    struct spool s;
    fresh(&s);
    s.keep = true;
    put(&s, SPOOL_STDOUT, LIMIT - SPOOL_SEGMENT);
    spool_trim(&s, spool_end(&s));
    struct spool_cursor c = spool_cursor_at(0);
    assert_int_equal(get(&s, &c, SIZE_MAX), LIMIT - SPOOL_SEGMENT);
    over(&s);
}

static void all_together_have_a_budget(void **state)
{
    struct spool s[4];
    fresh(&s[0]);
    for (uint32_t i = 1; i < 4; i++) {
        ends[i] = 0;
        spool_init(&s[i], &pool, i, &ends[i]);
    }
    pool.limits.memory = 3 * SPOOL_SEGMENT;
    for (int round = 0; round < 6; round++)
        for (int i = 0; i < 4; i++)
            put(&s[i], SPOOL_STDOUT, 30000);
    assert_true(pool.memory <= 4 * SPOOL_SEGMENT + 8 * 4096);
    for (int i = 0; i < 4; i++) {
        struct spool_cursor c = spool_cursor_at(0);
        assert_int_equal(get(&s[i], &c, SIZE_MAX), 180000);
        spool_done(&s[i]);
    }
    close_pool();
}

static uint32_t seed = 1;

static uint32_t any(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static struct spool *only(uint32_t slot, void *arg)
{
    return slot == 0 ? arg : NULL;
}

/* As another agent would find it: all that was known is forgotten, but the arena and the file. */
static void reborn(struct spool *s, uint64_t delivered)
{
    struct spool_pool before = pool;
    free(s->ring);
    free(pool.cache);
    arena_recover(before.arena);
    spool_pool_init(&pool, before.arena, &before.limits);
    pool.directory = before.directory;
    pool.disk_fd = before.disk_fd;
    spool_init(s, &pool, 0, &ends[0]);
    s->needed = delivered;
    spool_pool_recover(&pool, only, s);
    assert_int_equal(pool.memory, before.memory);
    assert_int_equal(pool.disk, before.disk);
}

/* Against a model: what a cursor gets is what was put in, except what it is told it missed. */
static void many_readers_at_random(void **state)
{
    enum { READERS = 4 };
    struct spool s;
    struct spool_cursor c[READERS];
    uint64_t got[READERS];
    fresh(&s);
    for (int i = 0; i < READERS; i++) {
        c[i] = spool_cursor_at(0);
        got[i] = 0;
    }
    for (int round = 0; round < 20000; round++) {
        if (any(3))
            put(&s, (enum spool_kind)any(3), any(2) ? any(60) : any(40000));
        size_t reader = any(READERS);
        if (any(3))
            got[reader] += get(&s, &c[reader], any(2) ? any(100) : any(200000));
        if (any(50) == 0)
            spool_trim(&s, c[reader].offset);
        if (any(200) == 0) {
            reborn(&s, s.needed);
            for (int i = 0; i < READERS; i++)
                c[i] = (struct spool_cursor){.offset = c[i].offset, .missed = c[i].missed};
        }
    }
    for (int i = 0; i < READERS; i++) {
        got[i] += get(&s, &c[i], SIZE_MAX);
        assert_int_equal(got[i] + c[i].missed, spool_end(&s));
    }
    over(&s);
}

/* A commit that has done everything but move the end, and one before it all. */
static void a_half_commit_is_taken_back(void **state)
{
    struct spool s;
    size_t room;
    for (int fill = 0; fill < 3; fill++) {
        fresh(&s);
        put(&s, SPOOL_STDOUT, fill == 0 ? 0 : fill == 1 ? 100 : SPOOL_CHUNK + 10000);
        uint64_t end = ends[0];
        char *to = spool_reserve(&s, SPOOL_STDOUT, &room);
        uint64_t place = spool_place(&s);
        for (size_t i = 0; i < 1000; i++)
            to[i] = at(end + i);
        spool_commit(&s, SPOOL_STDOUT, 1000);
        ends[0] = end;
        struct spool_pool before = pool;
        free(s.ring);
        arena_recover(before.arena);
        spool_pool_init(&pool, before.arena, &standard);
        pool.directory = "/tmp";
        spool_init(&s, &pool, 0, &ends[0]);
        spool_pool_recover(&pool, only, &s);
        assert_ptr_equal(spool_reserve_again(&s, place), to);
        spool_commit(&s, SPOOL_STDOUT, 1000);
        put(&s, SPOOL_STDOUT, 5000);
        struct spool_cursor c = spool_cursor_at(0);
        assert_int_equal(get(&s, &c, SIZE_MAX), end + 6000);
        over(&s);
    }
}

static void what_the_disk_has_lost_is_counted(void **state)
{
    struct spool s;
    struct spool_cursor c = spool_cursor_at(0);
    char bytes[SPOOL_SEGMENT];
    fresh(&s);
    put(&s, SPOOL_STDOUT, LIMIT - SPOOL_SEGMENT);
    assert_true(pool.disk > 2 * SPOOL_SEGMENT);
    memset(bytes, 0xee, sizeof bytes);
    assert_int_equal(pwrite(pool.disk_fd, bytes, sizeof bytes, 0), sizeof bytes);
    size_t got = get(&s, &c, SIZE_MAX);
    assert_true(c.missed > 0);
    assert_int_equal(got + c.missed, spool_end(&s));
    over(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_spool_holds_nothing),
        cmocka_unit_test(kinds_keep_their_order),
        cmocka_unit_test(a_chunk_may_grow_behind_a_reader),
        cmocka_unit_test(memory_then_disk_then_the_oldest_goes),
        cmocka_unit_test(without_a_disk_memory_is_the_bound),
        cmocka_unit_test(the_last_few_bytes_push_nothing_out),
        cmocka_unit_test(trimming_keeps_the_rest_and_some_history),
        cmocka_unit_test(all_is_kept_when_asked),
        cmocka_unit_test(all_together_have_a_budget),
        cmocka_unit_test(many_readers_at_random),
        cmocka_unit_test(a_half_commit_is_taken_back),
        cmocka_unit_test(what_the_disk_has_lost_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
