/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hostname.h"
#include "base/mem.h"

static void valid(void **state)
{
    static const char *const good[] = {"a.example",  "localhost", "xn--bcher-kva.de",
                                       "_dns.x-y.z", "1.2.3.4a",  "3.com"};
    static const char *const bad[] = {"",        "*",   "a..b", ".a",          "a.",
                                      "A.b",     "a b", "a/b",  "*.a",         "a.*",
                                      "1.2.3.4", "a.1", "a:80", "b\xc3\xbc.de"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(hostname_valid(str_from(good[i])));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (hostname_valid(str_from(bad[i])))
            fail_msg("\"%s\" is no name", bad[i]);
    assert_true(hostname_pattern_valid(STR("*.a")));
    assert_false(hostname_pattern_valid(STR("*.")));
    assert_false(hostname_pattern_valid(STR("*")));
    assert_false(hostname_pattern_valid(STR("**.a")));
    assert_false(hostname_pattern_valid(STR("*.*.a")));
    assert_false(hostname_valid((struct str){"a\0b", 3}));
}

static void lengths(void **state)
{
    char longest[64 * 5];
    memset(longest, 'a', sizeof longest);
    assert_false(hostname_valid((struct str){longest, 64}));
    assert_true(hostname_valid((struct str){longest, 63}));
    for (size_t i = 63; i < sizeof longest; i += 64)
        longest[i] = '.';
    assert_true(hostname_valid((struct str){longest, 253}));
    assert_false(hostname_valid((struct str){longest, 254}));
}

static void normalized(void **state)
{
    char out[HOSTNAME_SIZE];
    assert_int_equal(hostname_normalize(STR("API.Example.com."), out), 15);
    assert_string_equal(out, "api.example.com");
    assert_int_equal(hostname_normalize(STR("a.."), out), 0);
    assert_int_equal(hostname_normalize(STR("."), out), 0);
    assert_int_equal(hostname_normalize(STR("127.0.0.1"), out), 0);
    char longest[300];
    memset(longest, 'a', sizeof longest);
    assert_int_equal(hostname_normalize((struct str){longest, sizeof longest}, out), 0);
}

static void matches(void **state)
{
    assert_true(hostname_matches(STR("x.com"), STR("x.com")));
    assert_false(hostname_matches(STR("a.x.com"), STR("x.com")));
    assert_true(hostname_matches(STR("a.x.com"), STR("*.x.com")));
    assert_true(hostname_matches(STR("a.b.x.com"), STR("*.x.com")));
    assert_false(hostname_matches(STR("x.com"), STR("*.x.com")));
    assert_false(hostname_matches(STR("ax.com"), STR("*.x.com")));
    assert_false(hostname_matches(STR(".x.com"), STR("*.x.com")));
    assert_false(hostname_matches(STR("x.com.evil"), STR("*.x.com")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid),
        cmocka_unit_test(lengths),
        cmocka_unit_test(normalized),
        cmocka_unit_test(matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
