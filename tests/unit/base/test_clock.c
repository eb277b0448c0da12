/* SPDX-License-Identifier: Apache-2.0 */
/* clock: RFC 3339 out and in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/clock.h"

static void formats(void **state)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format(INT64_C(1767323045678901234), 3, text);
    assert_string_equal(text, "2026-01-02T03:04:05.678Z");
    clock_format(INT64_C(1767323045678901234), 9, text);
    assert_string_equal(text, "2026-01-02T03:04:05.678901234Z");
    clock_format(0, 0, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    clock_format(-1, 9, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999999Z");
}

static void parses(void **state)
{
    int64_t ns;
    assert_int_equal(clock_parse(STR("2026-01-02T03:04:05.678Z"), &ns), 0);
    assert_int_equal(ns, INT64_C(1767323045678000000));
    assert_int_equal(clock_parse(STR("2026-01-02T05:34:05+02:30"), &ns), 0);
    assert_int_equal(ns, INT64_C(1767323045000000000));
}

static void refuses(void **state)
{
    static const char *const bad[] = {"", "2026-01-02", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05",
                                      "2026-01-02T25:04:05Z", "2026-01-02T03:04:05Zx", "x"};
    int64_t ns;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(clock_parse(str_from(bad[i]), &ns), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats), cmocka_unit_test(parses), cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
