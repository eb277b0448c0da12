/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of an /execute answer. */
#include "interpreter/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

enum { CEILING = 1 << 16 };

static void assert_text(struct str text, const char *expected)
{
    struct buf out;
    buf_init(&out, CEILING);
    event_append_text(&out, text);
    assert_string_equal(buf_cstr(&out), expected);
    buf_done(&out);
}

static void texts_are_ascii(void **state)
{
    assert_text(STR(""), "\"\"");
    assert_text(STR("plain ~"), "\"plain ~\"");
    assert_text(STR("\"\\\n\r\t\x01\x7f"), "\"\\\"\\\\\\n\\r\\t\\u0001\\u007f\"");
    assert_text(STR("\0"), "\"\\u0000\"");
    assert_text(STR("ü\u2028漢"), "\"\\u00fc\\u2028\\u6f22\"");
    assert_text(STR("🚀"), "\"\\ud83d\\ude80\"");
}

static void what_is_no_text_is_marked(void **state)
{
    assert_text(STR("a\xff" "b"), "\"a\\ufffdb\"");
    assert_text(STR("\xe2\x82"), "\"\\ufffd\\ufffd\"");
    assert_text(STR("\xc0\x80"), "\"\\ufffd\\ufffd\"");
    assert_text(STR("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
    assert_text(STR("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
}

/* The line parsed by somebody else's parser; it must be one line. */
static json_t *line_of(struct buf *out)
{
    const char *text = buf_cstr(out);
    assert_non_null(text);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    json_t *line = json_loads(text, 0, NULL);
    assert_non_null(line);
    buf_done(out);
    return line;
}

static void assert_member(const json_t *line, const char *name, const char *expected)
{
    assert_string_equal(json_string_value(json_object_get(line, name)), expected);
}

static void results_have_the_sdks_names(void **state)
{
    struct buf out;
    json_t *bundle = json_pack("{s:s,s:s,s:s,s:{s:i},s:{s:s},s:s}", "text/plain", "'quoted'",
                               "text/html", "<b>", "image/png", "cG5n", "application/json", "a", 1,
                               "e2b/chart", "type", "pie", "x/own", "mine");
    buf_init(&out, CEILING);
    event_result(&out, bundle, true);
    json_t *line = line_of(&out);
    assert_member(line, "type", "result");
    assert_member(line, "text", "quoted");
    assert_member(line, "html", "<b>");
    assert_member(line, "png", "cG5n");
    assert_true(json_is_true(json_object_get(line, "is_main_result")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(line, "json"), "a")), 1);
    assert_member(json_object_get(line, "chart"), "type", "pie");
    assert_member(json_object_get(line, "extra"), "x/own", "mine");
    json_decref(line);
    json_decref(bundle);
}

static void only_a_pair_of_quotes_goes(void **state)
{
    static const char *const cases[][2] = {
        {"'a'", "a"}, {"\"a\"", "a"}, {"''", ""}, {"'", "'"}, {"'a\"", "'a\""}, {"a'", "a'"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf out;
        json_t *bundle = json_pack("{s:s}", "text/plain", cases[i][0]);
        buf_init(&out, CEILING);
        event_result(&out, bundle, false);
        json_t *line = line_of(&out);
        assert_member(line, "text", cases[i][1]);
        json_decref(line);
        json_decref(bundle);
    }
}

static void other_lines(void **state)
{
    struct buf out;
    json_t *line;
    buf_init(&out, CEILING);
    event_output(&out, true, STR("x\n"));
    line = line_of(&out);
    assert_member(line, "type", "stderr");
    assert_member(line, "text", "x\n");
    assert_non_null(json_object_get(line, "timestamp"));
    json_decref(line);
    event_error(&out, STR("Name"), (struct str){0}, STR("trace"));
    line = line_of(&out);
    assert_member(line, "name", "Name");
    assert_member(line, "value", "");
    assert_member(line, "traceback", "trace");
    json_decref(line);
    event_count(&out, 7);
    line = line_of(&out);
    assert_int_equal(json_integer_value(json_object_get(line, "execution_count")), 7);
    json_decref(line);
    event_keepalive(&out);
    json_decref(line_of(&out));
    event_end(&out);
    line = line_of(&out);
    assert_member(line, "type", "end_of_execution");
    json_decref(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_ascii),
        cmocka_unit_test(what_is_no_text_is_marked),
        cmocka_unit_test(results_have_the_sdks_names),
        cmocka_unit_test(only_a_pair_of_quotes_goes),
        cmocka_unit_test(other_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
