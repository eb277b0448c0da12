/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"

#define BAD "\xef\xbf\xbd"

static void check(struct str text, const char *want)
{
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(json_text_append(&out, text), 0);
    assert_string_equal(buf_cstr(&out), want);
    buf_done(&out);
}

static void texts(void **state)
{
    (void)state;
    check(STR(""), "\"\"");
    check(STR("a \"b\" \\ /"), "\"a \\\"b\\\" \\\\ /\"");
    check(STR("\n\t\x01\x1f\x7f"), "\"\\n\\u0009\\u0001\\u001f\x7f\"");
    check(STR("a\0b"), "\"a\\u0000b\"");
    check(STR("\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x9a\x80"), "\"\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x9a\x80\"");
}

static void not_utf8(void **state)
{
    (void)state;
    check(STR("\xff"), "\"" BAD "\"");
    check(STR("a\xc3"), "\"a" BAD "\"");
    check(STR("\xc3\"\x80"), "\"" BAD "\\\"" BAD "\"");
    check(STR("\xed\xa0\x80"), "\"" BAD BAD BAD "\"");         /* a surrogate */
    check(STR("\xc0\xaf"), "\"" BAD BAD "\"");                 /* overlong */
    check(STR("\xf4\x90\x80\x80"), "\"" BAD BAD BAD BAD "\""); /* above U+10FFFF */
    check(STR("\xe6\xbc\xc3\xa4"), "\"" BAD BAD "\xc3\xa4\"");
}

static void always_valid(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[12];
        for (size_t i = 0; i < sizeof text; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[i] = (char)(seed >> 56);
        }
        struct buf out;
        buf_init(&out, 1000);
        assert_int_equal(json_text_append(&out, (struct str){text, sizeof text}), 0);
        assert_true(utf8_valid(buf_str(&out)));
        buf_done(&out);
    }
}

static void ceiling(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 5);
    assert_int_equal(json_text_append(&out, STR("123456")), -ENOBUFS);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(not_utf8),
        cmocka_unit_test(always_valid),
        cmocka_unit_test(ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
