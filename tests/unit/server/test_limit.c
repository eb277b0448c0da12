/* SPDX-License-Identifier: Apache-2.0 */
/* limit: bursts, refill, projects apart. */
#include "unit.h"

#include "base/clock.h"
#include "server/limit.h"

static void a_burst_and_then_the_rate(void **state)
{
    struct limit *limit = limit_new(10);
    struct limit_state s;
    int64_t now = 5 * CLOCK_S;
    for (int i = 0; i < 20; i++) {
        assert_true(limit_take(limit, "a", now, &s));
        assert_int_equal(s.remaining, 19 - i);
        assert_int_equal(s.burst, 20);
    }
    assert_int_equal(s.reset, 2); /* until all is there again */
    assert_false(limit_take(limit, "a", now, &s));
    assert_int_equal(s.reset, 1);
    assert_true(limit_take(limit, "b", now, &s)); /* another's business */
    now += CLOCK_S / 10;
    assert_true(limit_take(limit, "a", now, &s));
    assert_false(limit_take(limit, "a", now, &s));
    now += 1000 * CLOCK_S; /* rest is made up for once */
    for (int i = 0; i < 20; i++)
        assert_true(limit_take(limit, "a", now, &s));
    assert_false(limit_take(limit, "a", now, &s));
    limit_free(limit);
}

static void a_clock_that_stands_still_gives_nothing(void **state)
{
    struct limit *limit = limit_new(1);
    struct limit_state s;
    assert_true(limit_take(limit, "a", 0, &s) && limit_take(limit, "a", 0, &s));
    assert_false(limit_take(limit, "a", 0, &s));
    assert_false(limit_take(limit, "a", -CLOCK_S, &s));
    limit_free(limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_and_then_the_rate),
        cmocka_unit_test(a_clock_that_stands_still_gives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
