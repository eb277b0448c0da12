/* SPDX-License-Identifier: Apache-2.0 */
#include "http/content_type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void by_name(void **state)
{
    (void)state;
    assert_string_equal(content_type_by_name(STR("a.PNG")), "image/png");
    assert_string_equal(content_type_by_name(STR(".json")), "application/json");
    assert_string_equal(content_type_by_name(STR("a.b/c.txt")), "text/plain; charset=utf-8");
    assert_null(content_type_by_name(STR("png")));
    assert_null(content_type_by_name(STR("a.txt/b")));
    assert_null(content_type_by_name(STR("a.")));
    assert_null(content_type_by_name(STR("")));
}

static void by_content(void **state)
{
    (void)state;
    assert_string_equal(content_type_by_content(STR("")), "text/plain; charset=utf-8");
    assert_string_equal(content_type_by_content(STR("\x1b[1mcolour\xff")),
                        "text/plain; charset=utf-8");
    assert_string_equal(content_type_by_content(STR("a\0b")), "application/octet-stream");
    assert_string_equal(content_type_by_content(STR("\x1f\x8b\x08\0")), "application/x-gzip");
    assert_string_equal(content_type_by_content(STR("\x1f\x8b")), "application/octet-stream");
    assert_string_equal(content_type_by_content(STR("RIFF....WEBPVP8")), "image/webp");
    assert_string_equal(content_type_by_content(STR("RIFF....WEB")), "text/plain; charset=utf-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_name),
        cmocka_unit_test(by_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
