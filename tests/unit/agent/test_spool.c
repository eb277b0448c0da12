/* SPDX-License-Identifier: Apache-2.0 */
/* spool: every byte once and in order for every reader, or counted as missed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/spool.h"
#include "base/str.h"

enum { LIMIT = 4 * SPOOL_SEGMENT };

static struct spool_pool pool = {.budget = 1000};

static void fresh(struct spool *s)
{
    pool = (struct spool_pool){.budget = 1000};
    spool_init(s, LIMIT, &pool);
}

static void over(struct spool *s)
{
    spool_done(s);
    assert_int_equal(pool.held, 0);
    spool_pool_done(&pool);
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
        assert_true(room >= 4096 && room <= SPOOL_CHUNK);
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
            assert_int_equal(chunk.p[i], at(c->offset + i));
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
    assert_int_equal(pool.held, 0);
    put(&s, SPOOL_STDOUT, 100);
    spool_trim(&s, 100);
    assert_int_equal(pool.held, 0);
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

static void at_the_bound_the_oldest_goes(void **state)
{
    struct spool s;
    struct spool_cursor early = spool_cursor_at(0);
    fresh(&s);
    put(&s, SPOOL_STDOUT, 1000);
    assert_int_equal(get(&s, &early, 500), 500);
    while (!spool_full(&s))
        put(&s, SPOOL_STDOUT, 4096);
    assert_int_equal(spool_begin(&s), 0);
    put(&s, SPOOL_STDOUT, LIMIT);
    assert_true(spool_begin(&s) > 0);
    assert_true(spool_end(&s) - spool_begin(&s) <= LIMIT);
    assert_true(spool_end(&s) - spool_begin(&s) > LIMIT - 2 * SPOOL_SEGMENT);
    assert_int_equal(pool.held, LIMIT / SPOOL_SEGMENT);
    uint64_t missed = spool_begin(&s) - 500;
    size_t rest = (size_t)(spool_end(&s) - spool_begin(&s));
    assert_int_equal(get(&s, &early, SIZE_MAX), rest);
    assert_int_equal(early.missed, missed);
    over(&s);
}

static void the_last_few_bytes_push_nothing_out(void **state)
{
    struct spool s;
    fresh(&s);
    while (!spool_full(&s)) {
        size_t room;
        spool_reserve(&s, SPOOL_STDOUT, &room);
        spool_commit(&s, SPOOL_STDOUT, room); /* filled to the brim */
    }
    spool_append(&s, SPOOL_STDERR, "\xe2\x82", 2);
    spool_append(&s, SPOOL_STDOUT, "\xe2", 1);
    assert_int_equal(spool_begin(&s), 0);
    over(&s);
}

static void trimming_anywhere_keeps_the_rest(void **state)
{
    struct spool s;
    fresh(&s);
    for (int i = 0; i < 30; i++)
        put(&s, i % 3 ? SPOOL_STDOUT : SPOOL_STDERR, 5000);
    struct spool_cursor behind = spool_cursor_at(0);
    for (uint64_t offset = 0; offset < 150000; offset += 777) {
        spool_trim(&s, offset);
        assert_int_equal(spool_begin(&s), offset);
        struct spool_cursor c = spool_cursor_at(offset);
        assert_int_equal(get(&s, &c, SIZE_MAX), 150000 - offset);
        assert_int_equal(get(&s, &behind, 10), 10);
    }
    assert_int_equal(behind.offset + 0, 150000 / 777 * 777 + 10);
    spool_trim(&s, 150000);
    assert_int_equal(pool.held, 0);
    over(&s);
}

static void all_together_have_a_budget(void **state)
{
    struct spool s;
    fresh(&s);
    pool.budget = 1;
    put(&s, SPOOL_STDOUT, LIMIT);
    assert_int_equal(pool.held, 2);
    assert_int_equal(spool_capacity(&s), 2 * SPOOL_SEGMENT);
    over(&s);
}

static uint32_t seed = 1;

static uint32_t any(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
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
            spool_trim(&s, c[reader].offset < spool_begin(&s) ? spool_begin(&s) : c[reader].offset);
    }
    for (int i = 0; i < READERS; i++) {
        got[i] += get(&s, &c[i], SIZE_MAX);
        assert_int_equal(got[i] + c[i].missed, spool_end(&s));
    }
    over(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_spool_holds_nothing),
        cmocka_unit_test(kinds_keep_their_order),
        cmocka_unit_test(a_chunk_may_grow_behind_a_reader),
        cmocka_unit_test(at_the_bound_the_oldest_goes),
        cmocka_unit_test(the_last_few_bytes_push_nothing_out),
        cmocka_unit_test(trimming_anywhere_keeps_the_rest),
        cmocka_unit_test(all_together_have_a_budget),
        cmocka_unit_test(many_readers_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
