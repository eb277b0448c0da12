/* SPDX-License-Identifier: Apache-2.0 */
/* field: JSON read strictly, with messages that say where. */
#include "unit.h"

#include "server/field.h"

static void parsing(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } bad[] = {
        {"", "invalid JSON at line 1"},
        {"{", "line 1"},
        {"{\"a\":1,\n \"b\" 2}", "line 2"},
        {"[]", "must be a JSON object"},
        {"{} x", "invalid JSON"},
        {"{\"a\":\"\\u0000\"}", "invalid JSON"},
        {"{\"a\":\"\xff\"}", "invalid JSON"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct err err;
        assert_null(field_parse_object(str_from(bad[i].text), &err));
        if (!strstr(err.message, bad[i].says))
            fail_msg("%s says \"%s\"", bad[i].text, err.message);
    }
    json_t *object = field_parse_object(STR("{\"[[[\":\"\\\"{{{\"}"), NULL);
    assert_non_null(object);
    json_decref(object);
}

static void depth(void **state)
{
    char text[400] = "{\"a\":";
    struct err err;
    memset(text + 5, '[', 63);
    memset(text + 68, ']', 63);
    memcpy(text + 131, "}", 2);
    json_t *object = field_parse_object(str_from(text), &err);
    assert_non_null(object);
    json_decref(object);
    memset(text + 5, '[', 300);
    assert_null(field_parse_object((struct str){text, 305}, &err));
    assert_non_null(strstr(err.message, "deeper than 64"));
}

static void members(void **state)
{
    json_t *object = json_loads("{\"s\":\"x\",\"i\":5,\"z\":0,\"r\":5.0,\"b\":true,\"n\":null,"
                                "\"m\":{\"k\":\"v\"},\"w\":{\"k\":1}}",
                                0, NULL);
    const char *text = NULL;
    struct err err;
    int64_t number = -1;
    bool flag = false;
    json_t *map = NULL;
    assert_int_equal(field_string(object, "s", &text, &err), 1);
    assert_string_equal(text, "x");
    assert_int_equal(field_string(object, "n", &text, &err), 0);
    assert_int_equal(field_string(object, "missing", &text, &err), 0);
    assert_int_equal(field_string(object, "i", &text, &err), -EINVAL);
    assert_string_equal(err.message, "\"i\" must be a string");

    assert_int_equal(field_integer(object, "i", 1, 10, &number, &err), 1);
    assert_int_equal(number, 5);
    assert_int_equal(field_integer(object, "i", 1, 4, &number, &err), -EINVAL);
    assert_string_equal(err.message, "\"i\" must be at most 4");
    assert_int_equal(field_integer(object, "z", 1, 4, &number, &err), -EINVAL);
    assert_string_equal(err.message, "\"z\" must be a positive integer");
    assert_int_equal(field_integer(object, "r", 0, 10, &number, &err), -EINVAL);
    assert_int_equal(field_integer(object, "s", 0, 10, &number, &err), -EINVAL);
    assert_int_equal(number, 5); /* untouched by failures */

    assert_int_equal(field_bool(object, "b", &flag, &err), 1);
    assert_true(flag);
    assert_int_equal(field_bool(object, "i", &flag, &err), -EINVAL);
    assert_int_equal(field_string_map(object, "m", &map, &err), 1);
    assert_int_equal(field_string_map(object, "w", &map, &err), -EINVAL);
    assert_string_equal(err.message, "\"w\": the value of \"k\" must be a string");
    assert_int_equal(field_bool(NULL, "b", &flag, &err), 0); /* no object: nothing in it */
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing),
        cmocka_unit_test(depth),
        cmocka_unit_test(members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
