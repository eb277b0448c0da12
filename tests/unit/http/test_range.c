/* SPDX-License-Identifier: Apache-2.0 */
#include "http/range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static void check(const char *value, int64_t size, enum http_range want, int64_t first,
                  int64_t length)
{
    int64_t f = -7, n = -7;
    assert_int_equal(http_range_parse(str_from(value), size, &f, &n), want);
    if (want != HTTP_RANGE_PART)
        return;
    assert_int_equal(f, first);
    assert_int_equal(n, length);
}

static void parts(void **state)
{
    (void)state;
    check("bytes=0-0", 10, HTTP_RANGE_PART, 0, 1);
    check("bytes=0-", 10, HTTP_RANGE_PART, 0, 10);
    check("bytes=3-5", 10, HTTP_RANGE_PART, 3, 3);
    check("bytes=3-99", 10, HTTP_RANGE_PART, 3, 7);
    check("bytes=-3", 10, HTTP_RANGE_PART, 7, 3);
    check("bytes=-99", 10, HTTP_RANGE_PART, 0, 10);
    check(" Bytes = 1 - 2 ", 10, HTTP_RANGE_PART, 1, 2);
    check("bytes=0-9223372036854775807", INT64_MAX, HTTP_RANGE_PART, 0, INT64_MAX);
    check("bytes=5-99999999999999999999999999", 10, HTTP_RANGE_PART, 5, 5);
}

static void outside(void **state)
{
    (void)state;
    check("bytes=10-", 10, HTTP_RANGE_BAD, 0, 0);
    check("bytes=0-0", 0, HTTP_RANGE_BAD, 0, 0);
    check("bytes=-0", 10, HTTP_RANGE_BAD, 0, 0);
    check("bytes=-5", 0, HTTP_RANGE_BAD, 0, 0);
    check("bytes=99999999999999999999999999-", 10, HTTP_RANGE_BAD, 0, 0);
}

static void ignored(void **state)
{
    (void)state;
    static const char *const values[] = {
        NULL,        "",           "bytes",      "bytes=",        "bytes=-",    "bytes=a-",
        "bytes=1-b", "bytes=2-1",  "bytes=1",    "bytes=1-2,4-5", "bytes=0-0,", "items=0-1",
        "=0-1",      "bytes=+1-2", "bytes=1--2", "bytes=0x1-2",
    };
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        check(values[i], 10, HTTP_RANGE_ALL, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),
        cmocka_unit_test(outside),
        cmocka_unit_test(ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
