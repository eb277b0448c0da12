/* SPDX-License-Identifier: Apache-2.0 */
#include "http/conditional.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static void dates(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
        {INT64_C(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[HTTP_DATE_SIZE];
        int64_t back;
        http_date_format(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(http_date_parse(str_from(text), &back), 0);
        assert_int_equal(back, cases[i].seconds);
    }
    char text[HTTP_DATE_SIZE];
    http_date_format(INT64_MAX, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
}

static void bad_dates(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:4x:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
    };
    int64_t seconds;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_int_equal(http_date_parse(str_from(texts[i]), &seconds), -EINVAL);
}

static int status(const char *name, const char *value)
{
    struct http_header list[] = {{str_from(name), str_from(value)}};
    struct http_headers headers = {list, 1};
    return http_conditional_status(&headers, "\"tag\"", 784111777);
}

static void conditions(void **state)
{
    (void)state;
    assert_int_equal(status("If-None-Match", "\"tag\""), 304);
    assert_int_equal(status("if-none-match", "\"a\" , W/\"tag\""), 304);
    assert_int_equal(status("If-None-Match", "*"), 304);
    assert_int_equal(status("If-None-Match", "\"other\""), 200);
    assert_int_equal(status("If-Match", "\"tag\""), 200);
    assert_int_equal(status("If-Match", "W/\"tag\""), 412);
    assert_int_equal(status("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"), 304);
    assert_int_equal(status("If-Modified-Since", "Sun, 06 Nov 1994 08:49:36 GMT"), 200);
    assert_int_equal(status("If-Modified-Since", "nonsense"), 200);
    assert_int_equal(status("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:36 GMT"), 412);
    assert_int_equal(status("Other", "x"), 200);
}

static bool may_write(const char *match, const char *none, const char *etag)
{
    return http_conditional_write(str_from(match), str_from(none), etag);
}

static void writes(void **state)
{
    (void)state;
    assert_true(may_write(NULL, NULL, NULL) && may_write(NULL, NULL, "\"a\""));
    assert_true(may_write("*", NULL, "\"a\"") && !may_write("*", NULL, NULL));
    assert_true(may_write("\"b\", \"a\"", NULL, "\"a\"") && !may_write("\"b\"", NULL, "\"a\""));
    assert_false(may_write("W/\"a\"", NULL, "\"a\""));
    assert_false(may_write("", NULL, "\"a\""));
    assert_true(may_write(NULL, "*", NULL) && !may_write(NULL, "*", "\"a\""));
    assert_true(may_write(NULL, "\"b\"", "\"a\"") && !may_write(NULL, "W/\"a\"", "\"a\""));
    assert_false(may_write("\"a\"", "\"a\"", "\"a\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates),
        cmocka_unit_test(bad_dates),
        cmocka_unit_test(conditions),
        cmocka_unit_test(writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
