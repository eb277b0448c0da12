/* SPDX-License-Identifier: Apache-2.0 */
/* connect: what a request head says. */
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

/* A request with one to three fields. */
static bool parse(struct http_header *fields, size_t count, bool streaming, struct rpc_head *head,
                  int *ret_rc, struct err *err)
{
    struct http_request request = {.headers = {fields, count}};
    if (!rpc_head_type(&request, streaming, head))
        return false;
    *ret_rc = rpc_head_parse(&request, head, err);
    return true;
}

static int parse_field(const char *name, const char *value, struct rpc_head *head, struct err *err)
{
    struct http_header fields[] = {
        {STR("content-type"), STR("application/json")},
        {str_from(name), str_from(value)},
    };
    int rc = -1;
    assert_true(parse(fields, 2, false, head, &rc, err));
    return rc;
}

static void content_types(void **state)
{
    static const struct {
        const char *type;
        bool unary, stream;
    } cases[] = {
        {"application/json", true, false},
        {"application/json; charset=utf-8", true, false},
        {"Application/JSON", true, false},
        {"application/connect+json", false, true},
        {"application/connect+json;x", false, true},
        {"application/proto", true, false},
        {"application/connect+proto", false, true},
        {"application/jsonx", false, false},
        {"", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_header field = {STR("Content-Type"), str_from(cases[i].type)};
        struct http_request request = {.headers = {&field, 1}};
        struct rpc_head head;
        assert_int_equal(rpc_head_type(&request, false, &head), cases[i].unary);
        assert_int_equal(rpc_head_type(&request, true, &head), cases[i].stream);
    }
    struct http_request none = {0};
    struct rpc_head head;
    assert_false(rpc_head_type(&none, false, &head));
}

static void time_limits(void **state)
{
    struct rpc_head head;
    struct err err;
    assert_int_equal(parse_field("X", "y", &head, &err), 0);
    assert_int_equal(head.timeout_ns, -1);
    assert_int_equal(parse_field("connect-timeout-ms", "0", &head, &err), 0);
    assert_int_equal(head.timeout_ns, 0);
    assert_int_equal(parse_field("Connect-Timeout-Ms", "9999999999", &head, &err), 0);
    assert_true(head.timeout_ns == INT64_C(9999999999) * 1000000);
    const char *const bad[] = {"", "-1", "1.0", "12345678901", "1s", "0x1", "+1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse_field("Connect-Timeout-Ms", bad[i], &head, &err), -EINVAL);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

static void keepalive_intervals(void **state)
{
    static const struct {
        const char *text;
        int seconds;
    } cases[] = {{"50", 50}, {"1", 1}, {"0", 90}, {"x", 90}, {"-1", 90}, {"99999999", 90}};
    struct rpc_head head;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse_field("keepalive-ping-interval", cases[i].text, &head, NULL), 0);
        assert_true(head.keepalive_ns == cases[i].seconds * INT64_C(1000000000));
    }
}

static void users(void **state)
{
    struct rpc_head head;
    struct err err;
    char big[600] = "Basic ";
    memset(big + 6, 'A', 500);
    assert_int_equal(parse_field("X", "y", &head, &err), 0);
    assert_null(rpc_head_user(&head).p);
    assert_int_equal(parse_field("Authorization", "Basic cm9vdDo=", &head, &err), 0);
    assert_true(str_eqz(rpc_head_user(&head), "root"));
    assert_int_equal(parse_field("authorization", "basic  dXNlcjpwOng=", &head, &err), 0);
    assert_true(str_eqz(rpc_head_user(&head), "user"));
    assert_int_equal(parse_field("authorization", "Basic cm9vdA", &head, &err), 0);
    assert_true(str_eqz(rpc_head_user(&head), "root"));
    assert_int_equal(parse_field("authorization", "Basic Og==", &head, &err), 0);
    assert_true(rpc_head_user(&head).p && rpc_head_user(&head).len == 0);
    const char *const bad[] = {"Bearer x", "Basic", "Basic *", big};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(parse_field("authorization", bad[i], &head, &err) < 0);
        assert_int_equal(err.code, ERR_UNAUTHENTICATED);
    }
}

static void compression(void **state)
{
    struct http_header fields[] = {
        {STR("content-type"), STR("application/connect+json")},
        {STR("connect-content-encoding"), STR("identity")},
        {STR("content-encoding"), STR("gzip")}, /* of no meaning for a stream */
    };
    struct rpc_head head;
    struct err err;
    int rc;
    assert_true(parse(fields, 3, true, &head, &rc, &err));
    assert_int_equal(rc, 0);
    fields[1].value = STR("gzip");
    assert_true(parse(fields, 3, true, &head, &rc, &err));
    assert_true(rc < 0);
    assert_int_equal(err.code, ERR_UNIMPLEMENTED);
}

static void errors_as_json(void **state)
{
    struct err err;
    err_set(&err, ERR_NOT_FOUND, 0, "no \"%s\"", "x\xff");
    json_t *json = rpc_error_json(&err);
    char *text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(text, "{\"code\":\"not_found\",\"message\":\"no \\\"x\xef\xbf\xbd\\\"\"}");
    free(text);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_types),       cmocka_unit_test(time_limits),
        cmocka_unit_test(keepalive_intervals), cmocka_unit_test(users),
        cmocka_unit_test(compression),         cmocka_unit_test(errors_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
