/* SPDX-License-Identifier: Apache-2.0 */
/* utf8: validity and cutting. */
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
#include "base/utf8.h"

static void validity(void **state)
{
    assert_true(utf8_valid(STR("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")));
    static const char *const bad[] = {"\x80", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80", "\xc3", "\xff"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(utf8_valid(str_from(bad[i])));
}

static void cuts_only_before_characters(void **state)
{
    assert_int_equal(utf8_whole(STR("abc")), 3);
    assert_int_equal(utf8_whole(STR("ab\xc3")), 2);
    assert_int_equal(utf8_whole(STR("ab\xe2\x82")), 2);
    assert_int_equal(utf8_whole(STR("ab\xf0\x9f\x98")), 2);
    assert_int_equal(utf8_whole(STR("ab\xe2\x82\xac")), 5);
    assert_int_equal(utf8_whole(STR("")), 0);
}

static void what_is_not_utf8_is_not_held_back(void **state)
{
    assert_int_equal(utf8_whole(STR("ab\x80")), 3);
    assert_int_equal(utf8_whole(STR("\x80\x80\x80\x80")), 4);
    assert_int_equal(utf8_whole(STR("ab\xed\xa0")), 4);
    assert_int_equal(utf8_whole(STR("ab\xff")), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(validity),
                                       cmocka_unit_test(cuts_only_before_characters),
                                       cmocka_unit_test(what_is_not_utf8_is_not_held_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
