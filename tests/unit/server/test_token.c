/* SPDX-License-Identifier: Apache-2.0 */
/* token: signatures as the official SDKs make them. */
#include "unit.h"

#include "server/token.h"

/* Recorded from the JavaScript SDK: download URL with an expiration. */
#define JS_QUERY                                                                \
    "path=hello.txt&signature=v1_%2BV9Rd1dLbgDb3Fri7MwPnrWyt1sTA7Vs4jVO0ykPdOY" \
    "&signature_expiration=1795237309"
#define JS_TOKEN "stub-envd-token-850f2bfb"
/* sha256("/tmp/ä b:write:root:secret") by Python's hashlib, no expiration. */
#define PY_QUERY                                                                                  \
    "path=%2Ftmp%2F%C3%A4%20b&username=root&signature=v1_h2TeG2xawyRPdve%2B19vz9gqvZZRDctFNhO7O2" \
    "ShfdLE"

static void recorded(void **state)
{
    struct token_signature *s;
    assert_int_equal(token_signature_parse(STR(JS_QUERY), TOKEN_READ, &s), TOKEN_PARSED);
    assert_true(token_signature_matches(s, JS_TOKEN));
    assert_false(token_signature_matches(s, "stub-envd-token-850f2bfc"));
    assert_false(token_signature_matches(s, ""));
    assert_false(token_signature_expired(s, 1795237309));
    assert_true(token_signature_expired(s, 1795237310));
    token_signature_free(s);

    assert_int_equal(token_signature_parse(STR(JS_QUERY), TOKEN_WRITE, &s), TOKEN_PARSED);
    assert_false(token_signature_matches(s, JS_TOKEN)); /* made for reading */
    token_signature_free(s);
}

static void without_expiration(void **state)
{
    struct token_signature *s;
    assert_int_equal(token_signature_parse(STR(PY_QUERY), TOKEN_WRITE, &s), TOKEN_PARSED);
    assert_true(token_signature_matches(s, "secret"));
    assert_false(token_signature_expired(s, INT64_MAX));
    token_signature_free(s);
    /* an expiration that was added is part of the hash */
    assert_int_equal(
        token_signature_parse(STR(PY_QUERY "&signature_expiration=9999999999"), TOKEN_WRITE, &s),
        TOKEN_PARSED);
    assert_false(token_signature_matches(s, "secret"));
    token_signature_free(s);
}

/* '+' written as itself arrives as a space */
static void unescaped_plus(void **state)
{
    struct token_signature *s;
    assert_int_equal(
        token_signature_parse(STR("path=hello.txt&signature=v1_+V9Rd1dLbgDb3Fri7MwPnrWyt"
                                  "1sTA7Vs4jVO0ykPdOY&signature_expiration=1795237309"),
                              TOKEN_READ, &s),
        TOKEN_PARSED);
    assert_true(token_signature_matches(s, JS_TOKEN));
    token_signature_free(s);
}

static void bad_ones(void **state)
{
    static const char *const wrong[] = {
        "signature=", "signature=v1_", "signature=v1_short&path=x",
        "signature=v2_%2BV9Rd1dLbgDb3Fri7MwPnrWyt1sTA7Vs4jVO0ykPdOY&"
        "path=hello.txt&signature_expiration=1795237309"};
    struct token_signature *s;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_int_equal(token_signature_parse(str_from(wrong[i]), TOKEN_READ, &s), TOKEN_PARSED);
        assert_false(token_signature_matches(s, JS_TOKEN));
        token_signature_free(s);
    }
    assert_int_equal(token_signature_parse(STR("path=x"), TOKEN_READ, &s), TOKEN_NONE);
    assert_int_equal(token_signature_parse(STR(""), TOKEN_READ, &s), TOKEN_NONE);
    static const char *const malformed[] = {
        "signature=%zz", "signature=x&path=%", "signature=x&signature_expiration=soon",
        "signature=x&signature_expiration=99999999999999999999", "signature=x&path=a%00b"};
    for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
        assert_int_equal(token_signature_parse(str_from(malformed[i]), TOKEN_READ, &s),
                         TOKEN_MALFORMED);
}

static void tokens(void **state)
{
    char a[TOKEN_SIZE], b[TOKEN_SIZE];
    token_new(a);
    token_new(b);
    assert_int_equal(strlen(a), 64);
    assert_string_not_equal(a, b);
    assert_true(token_is(a, str_from(a)));
    assert_false(token_is(a, str_from(b)));
    assert_false(token_is(a, STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded),       cmocka_unit_test(without_expiration),
        cmocka_unit_test(unescaped_plus), cmocka_unit_test(bad_ones),
        cmocka_unit_test(tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
