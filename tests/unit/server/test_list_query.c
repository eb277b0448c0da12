/* SPDX-License-Identifier: Apache-2.0 */
/* list_query: filters, orders, page tokens. */
#include "unit.h"

#include "server/list_query.h"

static bool matches(const char *query, const char *metadata_json)
{
    struct list_query q;
    struct err err;
    assert_int_equal(list_query_parse(str_from(query), false, &q, &err), 0);
    json_t *metadata = metadata_json ? json_loads(metadata_json, 0, NULL) : NULL;
    bool result = list_query_matches(&q, "running", 5, "base", metadata);
    json_decref(metadata);
    list_query_done(&q);
    return result;
}

/* As both SDKs send {"sandboxTestId":"cap-1","k2":"a b&c"} */
#define CAPTURED "metadata=sandboxTestId%3Dcap-1%26k2%3Da%252520b%252526c&state=running&limit=2"

static void metadata(void **state)
{
    assert_true(matches(CAPTURED, "{\"sandboxTestId\":\"cap-1\",\"k2\":\"a b&c\",\"more\":\"x\"}"));
    assert_false(matches(CAPTURED, "{\"sandboxTestId\":\"cap-1\",\"k2\":\"a b\"}"));
    assert_false(matches(CAPTURED, "{\"sandboxTestId\":\"cap-1\"}"));
    assert_false(matches(CAPTURED, NULL));
    /* encoded once less, as a simple client does */
    assert_true(matches("metadata=k2%3Da%2520b%2526c", "{\"k2\":\"a b&c\"}"));
    assert_true(matches("metadata=a%3Db", "{\"a\":\"b\"}"));
    /* a percent sign in the value, encoded three times */
    assert_true(matches("metadata=p%3D100%252525", "{\"p\":\"100%\"}"));
    assert_true(matches("metadata=p%3D", "{\"p\":\"\"}"));
    assert_true(matches("metadata=", NULL));
    /* names are encoded like values; ä and = in them */
    assert_true(matches("metadata=%2525C3%2525A4%25253D%3D1", "{\"ä=\":\"1\"}"));
}

static void refused(void **state)
{
    static const char *const bad[] = {
        "metadata=a",
        "metadata=a%3Db%3Dc",
        "metadata=a%3D%25zz",
        "state=stopped",
        "state=running,dead",
        "order=up",
        "limit=0",
        "limit=101",
        "limit=x",
        "startedAfter=today",
        "nextToken=zz",
        "nextToken=****",
        "nextToken=MTIzX19pYQ",
        "metadata=%zz",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct list_query q;
        struct err err = {0};
        if (list_query_parse(str_from(bad[i]), false, &q, &err) >= 0)
            fail_msg("accepted: %s", bad[i]);
        assert_true(err.message[0] != '\0');
        list_query_done(&q);
    }
}

static void other_filters(void **state)
{
    struct list_query q;
    assert_int_equal(list_query_parse(STR("state=paused&template=Base%3Adefault&startedAfter="
                                          "1970-01-01T00:00:05Z&limit=7&order=asc"),
                                      false, &q, NULL),
                     0);
    assert_int_equal(q.limit, 7);
    assert_true(q.ascending);
    assert_true(list_query_matches(&q, "paused", 5000000000, "base", NULL)); /* inclusive */
    assert_false(list_query_matches(&q, "paused", 4999999999, "base", NULL));
    assert_false(list_query_matches(&q, "running", 5000000000, "base", NULL));
    assert_false(list_query_matches(&q, "paused", 5000000000, "other", NULL));
    list_query_done(&q);

    assert_int_equal(list_query_parse(STR("template=no%20such"), false, &q, NULL), 0);
    assert_false(list_query_matches(&q, "running", 5, "base", NULL));
    list_query_done(&q);

    assert_int_equal(list_query_parse(STR("state=paused"), true, &q, NULL), 0);
    assert_true(list_query_matches(&q, "running", 5, "base", NULL)); /* legacy: running only */
    assert_false(list_query_matches(&q, "paused", 5, "base", NULL));
    list_query_done(&q);
}

static void pages(void **state)
{
    struct list_query q, next;
    char token[LIST_TOKEN_SIZE], query[200];
    assert_int_equal(list_query_parse(STR(""), false, &q, NULL), 0);
    assert_int_equal(q.limit, 100);
    assert_true(list_query_compare(&q, 2, "ia", 1, "ib") < 0); /* newest first */
    assert_true(list_query_compare(&q, 1, "ib", 1, "ia") < 0);
    assert_true(list_query_beyond_token(&q, INT64_MAX, "iz"));

    list_query_token(&q, 1770000000123456789, "iabcdefghijklmnopqrs", token);
    assert_null(strpbrk(token, "+/="));
    snprintf(query, sizeof query, "nextToken=%s", token);
    assert_int_equal(list_query_parse(str_from(query), false, &next, NULL), 0);
    assert_true(next.has_token && next.token_started == 1770000000123456789);
    assert_string_equal(next.token_id, "iabcdefghijklmnopqrs");
    assert_false(list_query_beyond_token(&next, 1770000000123456789, "iabcdefghijklmnopqrs"));
    assert_true(list_query_beyond_token(&next, 1770000000123456788, "izzz"));
    assert_false(list_query_beyond_token(&next, 1770000000123456790, "iaaa"));
    /* the order must not change between pages */
    snprintf(query, sizeof query, "nextToken=%s&order=asc", token);
    assert_true(list_query_parse(str_from(query), false, &next, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata),
        cmocka_unit_test(refused),
        cmocka_unit_test(other_filters),
        cmocka_unit_test(pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
