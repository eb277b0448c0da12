/* SPDX-License-Identifier: Apache-2.0 */
/* str: splitting, numbers, percent-decoding. */
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
#include "base/str.h"

static void splits(void **state)
{
    struct str rest = STR("a,,b"), item;
    assert_true(str_split(&rest, ',', &item) && str_eqz(item, "a"));
    assert_true(str_split(&rest, ',', &item) && item.len == 0);
    assert_true(str_split(&rest, ',', &item) && str_eqz(item, "b"));
    assert_false(str_split(&rest, ',', &item));
}

static void numbers(void **state)
{
    uint64_t u;
    int64_t i;
    assert_int_equal(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(str_to_u64(STR("18446744073709551616"), UINT64_MAX, &u), -ERANGE);
    assert_int_equal(str_to_u64(STR("11"), 10, &u), -ERANGE);
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0"};
    for (size_t n = 0; n < ARRAY_SIZE(bad); n++)
        assert_int_equal(str_to_u64(str_from(bad[n]), UINT64_MAX, &u), -EINVAL);
    assert_int_equal(str_to_i64(STR("-9223372036854775808"), INT64_MIN, INT64_MAX, &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(str_to_i64(STR("9223372036854775808"), INT64_MIN, INT64_MAX, &i), -ERANGE);
}

static void percent(void **state)
{
    char out[64];
    assert_int_equal(str_percent_decode(STR("a%2Fb+c%e2"), true, out), 6);
    assert_memory_equal(out, "a/b c\xe2", 6);
    assert_int_equal(str_percent_decode(STR("a+b"), false, out), 3);
    assert_memory_equal(out, "a+b", 3);
    static const char *const bad[] = {"%", "%2", "%g0", "abc%"};
    for (size_t n = 0; n < ARRAY_SIZE(bad); n++)
        assert_int_equal(str_percent_decode(str_from(bad[n]), true, out), -EINVAL);
}

static void compares(void **state)
{
    assert_true(str_ieqz(STR("Content-TYPE"), "content-type"));
    assert_true(str_eq_secret(STR("abc"), STR("abc")));
    assert_false(str_eq_secret(STR("abc"), STR("abd")));
    assert_false(str_eq_secret(STR("abc"), STR("ab")));
    assert_true(str_eqz(str_trim(STR(" \ta b\t ")), "a b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(splits), cmocka_unit_test(numbers),
                                       cmocka_unit_test(percent), cmocka_unit_test(compares)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
