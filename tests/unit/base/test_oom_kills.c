/* SPDX-License-Identifier: Apache-2.0 */
/* oom_kills: which kill is whose, on files that look like the kernel's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/oom_kills.h"
#include "base/clock.h"

static int file;

static void write_v1(unsigned kills)
{
    char text[128];
    int n = snprintf(text, sizeof text, "oom_kill_disable 0\nunder_oom 0\noom_kill %u\n", kills);
    assert_int_equal(ftruncate(file, 0), 0);
    assert_int_equal(pwrite(file, text, (size_t)n, 0), n);
}

static void write_v2(unsigned kills)
{
    char text[128];
    int n = snprintf(text, sizeof text,
                     "low 0\nhigh 0\nmax 9\noom 3\noom_kill %u\noom_group_kill 0\n", kills);
    assert_int_equal(ftruncate(file, 0), 0);
    assert_int_equal(pwrite(file, text, (size_t)n, 0), n);
}

static int set_up(void **state)
{
    file = memfd_create("kills", 0);
    return file < 0;
}

static int tear_down(void **state)
{
    return close(file);
}

static void each_kill_is_claimed_once(void **state)
{
    struct oom_kills k;
    write_v1(7);
    oom_kills_init(&k, file);
    assert_false(oom_kills_claim(&k, 0));
    write_v1(9);
    assert_true(oom_kills_claim(&k, CLOCK_S));
    assert_true(oom_kills_claim(&k, CLOCK_S));
    assert_false(oom_kills_claim(&k, CLOCK_S));
    write_v2(10);
    assert_true(oom_kills_claim(&k, 2 * CLOCK_S));
    assert_false(oom_kills_claim(&k, 2 * CLOCK_S));
}

/* The victim was no process of ours: what is killed a minute later was killed by somebody else. */
static void an_old_kill_is_nobodys(void **state)
{
    struct oom_kills k;
    write_v2(0);
    oom_kills_init(&k, file);
    write_v2(1);
    oom_kills_look(&k, CLOCK_S);
    assert_false(oom_kills_claim(&k, 61 * CLOCK_S));
    write_v2(2);
    oom_kills_look(&k, 62 * CLOCK_S);
    assert_true(oom_kills_claim(&k, 63 * CLOCK_S));
}

static void nothing_is_known(void **state)
{
    static const char *const texts[] = {
        "", "\n\n", "oom_kill", "oom_kill \n", "oom_kill x\n", "oom_kill 5 6\n", "xoom_kill 5\n"};
    struct oom_kills k;
    oom_kills_init(&k, -1);
    assert_false(oom_kills_claim(&k, 0));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_v1(3);
        oom_kills_init(&k, file);
        assert_int_equal(ftruncate(file, 0), 0);
        assert_int_equal(pwrite(file, texts[i], strlen(texts[i]), 0), strlen(texts[i]));
        assert_false(oom_kills_claim(&k, 0));
    }
    /* A count that goes down is not a great many kills. */
    write_v1(3);
    oom_kills_init(&k, file);
    write_v1(1);
    assert_false(oom_kills_claim(&k, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_kill_is_claimed_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_old_kill_is_nobodys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_known, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
