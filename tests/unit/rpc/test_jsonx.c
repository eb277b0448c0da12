/* SPDX-License-Identifier: Apache-2.0 */
/* jsonx: the JSON mapping of protobuf, in all its liberties and no more. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>
#include <string.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/connect.h"
#include "rpc/jsonx.h"

static json_t *parse(const char *text)
{
    json_t *value = NULL;
    struct err err;
    assert_int_equal(rpc_decode(str_from(text), &value, &err), 0);
    return value;
}

static void names_in_both_cases_and_null(void **state)
{
    json_t *in = parse("{\"exit_code\":1,\"watcherId\":\"w\",\"pid\":null}");
    assert_non_null(jsonx_get(in, "exitCode"));
    assert_non_null(jsonx_get(in, "watcherId"));
    assert_null(jsonx_get(in, "pid"));
    assert_null(jsonx_get(in, "other"));
    assert_null(
        jsonx_get(in, "aNameThatIsFarLongerThanAnyFieldOfAnyMessageThatAnybodyEverThoughtOf"));
    json_decref(in);
}

static void integers_in_every_dress(void **state)
{
    json_t *in = parse("{\"a\":7,\"b\":\"7\",\"c\":7.0,\"d\":7e0,\"e\":\"-9223372036854775808\","
                       "\"f\":4294967295}");
    uint32_t u = 0;
    int64_t i = 0;
    const char *const sevens[] = {"a", "b", "c", "d"};
    for (size_t n = 0; n < 4; n++, u = 0) {
        assert_int_equal(jsonx_u32(in, sevens[n], &u, NULL), 1);
        assert_int_equal(u, 7);
    }
    assert_int_equal(jsonx_i64(in, "e", &i, NULL), 1);
    assert_true(i == INT64_MIN);
    assert_int_equal(jsonx_u32(in, "f", &u, NULL), 1);
    assert_true(u == UINT32_MAX);
    assert_int_equal(jsonx_u32(in, "absent", &u, NULL), 0);
    assert_true(u == UINT32_MAX);
    json_decref(in);
}

static void wrong_types_name_the_field(void **state)
{
    json_t *in = parse("{\"a\":-1,\"b\":4294967296,\"c\":1.5,\"d\":\"\",\"e\":\"1x\",\"f\":true,"
                       "\"g\":[],\"h\":1e300,\"i\":\" 1\"}");
    const char *const fields[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    struct err err;
    uint32_t u = 5;
    for (size_t n = 0; n < 9; n++) {
        assert_int_equal(jsonx_u32(in, fields[n], &u, &err), -EINVAL);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.message, fields[n]));
        assert_int_equal(u, 5);
    }
    struct str text;
    bool flag;
    json_t *member;
    assert_int_equal(jsonx_text(in, "a", &text, &err), -EINVAL);
    assert_int_equal(jsonx_bool(in, "a", &flag, &err), -EINVAL);
    assert_int_equal(jsonx_object(in, "g", &member, &err), -EINVAL);
    assert_int_equal(jsonx_array(in, "f", &member, &err), -EINVAL);
    json_decref(in);
}

static void bytes_are_base64(void **state)
{
    json_t *in =
        parse("{\"a\":\"aGkK\",\"b\":\"_-8\",\"c\":\"\",\"d\":\"a\",\"e\":\"a*==\",\"f\":1}");
    struct err err;
    char *bytes = NULL;
    size_t len = 9;
    assert_int_equal(jsonx_bytes(in, "a", &bytes, &len, &err), 1);
    assert_int_equal(len, 3);
    assert_memory_equal(bytes, "hi\n", 3);
    free(bytes);
    assert_int_equal(jsonx_bytes(in, "b", &bytes, &len, &err), 1);
    assert_int_equal(len, 2);
    assert_memory_equal(bytes, "\xff\xef", 2);
    free(bytes);
    assert_int_equal(jsonx_bytes(in, "c", &bytes, &len, &err), 1);
    assert_int_equal(len, 0);
    free(bytes);
    const char *const bad[] = {"d", "e", "f"};
    for (size_t n = 0; n < 3; n++)
        assert_int_equal(jsonx_bytes(in, bad[n], &bytes, &len, &err), -EINVAL);
    json_decref(in);
}

static void enums_by_name_and_number(void **state)
{
    static const struct jsonx_enum values[] = {{"ONE", 1}, {"TWO", 2}, {NULL, 0}};
    json_t *in = parse("{\"a\":\"TWO\",\"b\":2,\"c\":\"two\",\"d\":99}");
    int value = 0;
    assert_int_equal(jsonx_enum(in, "a", values, &value, NULL), 1);
    assert_int_equal(value, 2);
    assert_int_equal(jsonx_enum(in, "b", values, &value, NULL), 1);
    assert_int_equal(value, 2);
    assert_int_equal(jsonx_enum(in, "c", values, &value, NULL), -EINVAL);
    assert_int_equal(jsonx_enum(in, "d", values, &value, NULL), 1);
    assert_int_equal(value, 99);
    json_decref(in);
}

static void zero_values_are_left_out(void **state)
{
    json_t *out = json_object();
    jsonx_put_text(out, "a", NULL);
    jsonx_put_text(out, "b", "");
    jsonx_put_u32(out, "c", 0);
    jsonx_put_i64(out, "d", 0);
    jsonx_put_bool(out, "e", false);
    assert_int_equal(json_object_size(out), 0);
    jsonx_put_text(out, "a", "x");
    jsonx_put_u32(out, "c", UINT32_MAX);
    jsonx_put_i64(out, "d", -5);
    jsonx_put_bool(out, "e", true);
    char *text = json_dumps(out, JSON_COMPACT);
    assert_string_equal(text, "{\"a\":\"x\",\"c\":4294967295,\"d\":\"-5\",\"e\":true}");
    free(text);
    json_decref(out);
}

static void text_that_is_not_utf8_is_mended(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"\xc3\xa9\xe2\x82\xac", "\xc3\xa9\xe2\x82\xac"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc3\xa9\xe2", "\xc3\xa9\xef\xbf\xbd"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = jsonx_lossy_text(str_from(cases[i].in));
        assert_string_equal(json_string_value(value), cases[i].out);
        json_decref(value);
    }
}

static void what_is_no_message(void **state)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "null",
                                        "1",
                                        "{}x",
                                        "{\"a\":\"\\u0000\"}",
                                        "{\"a\":\"\xff\"}",
                                        "{\"a\":99999999999999999999}",
                                        "{a:1}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *value = NULL;
        struct err err;
        assert_int_equal(rpc_decode(str_from(texts[i]), &value, &err), -EINVAL);
        assert_int_equal(err.code, ERR_INVALID);
        assert_null(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_in_both_cases_and_null),
        cmocka_unit_test(integers_in_every_dress),
        cmocka_unit_test(wrong_types_name_the_field),
        cmocka_unit_test(bytes_are_base64),
        cmocka_unit_test(enums_by_name_and_number),
        cmocka_unit_test(zero_values_are_left_out),
        cmocka_unit_test(text_that_is_not_utf8_is_mended),
        cmocka_unit_test(what_is_no_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
