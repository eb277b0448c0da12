/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a process's stream: the usual form, any JSON form, and what a hostile sandbox may say. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "client/process_event.h"

static struct buf bytes;

static int parse(const char *text, struct process_event *ret)
{
    struct carrel_error err;
    int rc = process_event_parse(str_from(text), &bytes, ret, &err);
    if (rc < 0)
        assert_true(err.message[0] != '\0');
    return rc;
}

static void test_both_forms_are_the_same(void **state)
{
    static const char *const forms[] = {
        "{\"event\":{\"data\":{\"stderr\":\"aGVsbG8=\",\"offset\":\"7\",\"missed\":\"3\"}}}",
        "{ \"event\": {\"data\": {\"missed\": 3, \"offset\": 7, \"stderr\": \"aGVsbG8\"}}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        struct process_event event;
        assert_int_equal(parse(forms[i], &event), 0);
        assert_int_equal(event.kind, PROCESS_EVENT_DATA);
        assert_int_equal(event.stream, CARREL_STDERR);
        assert_true(event.counted);
        assert_int_equal(event.offset, 7);
        assert_int_equal(event.missed, 3);
        assert_true(str_eqz(buf_str(&bytes), "hello"));
    }
}

static void test_a_server_that_does_not_count(void **state)
{
    struct process_event event;
    assert_int_equal(parse("{\"event\":{\"data\":{\"pty\":\"eA==\"}}}", &event), 0);
    assert_int_equal(event.stream, CARREL_TERMINAL);
    assert_false(event.counted);
    assert_true(str_eqz(buf_str(&bytes), "x"));
}

static void test_ends(void **state)
{
    static const struct {
        const char *text;
        int code, signal;
        const char *status;
    } cases[] = {
        {"{\"exited\":true,\"status\":\"exit status 0\"}", 0, 0, "exit status 0"},
        {"{\"exitCode\":3,\"exited\":true,\"status\":\"exit status 3\",\"error\":\"exit status "
         "3\"}",
         3, 0, "exit status 3"},
        {"{\"exitCode\":-1,\"status\":\"signal: killed\",\"error\":\"out of memory: x\"}", -1,
         SIGKILL, "out of memory: x"},
        {"{\"exitCode\":-1,\"status\":\"signal: segmentation fault (core dumped)\"}", -1, SIGSEGV,
         "signal: segmentation fault (core dumped)"},
        {"{\"exitCode\":-1,\"status\":\"signal: nonsense\"}", -1, 0, "signal: nonsense"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct process_event event;
        _cleanup_free_ char *text = xasprintf("{\"event\":{\"end\":%s}}", cases[i].text);
        assert_int_equal(parse(text, &event), 0);
        assert_int_equal(event.kind, PROCESS_EVENT_END);
        assert_int_equal(event.exit.code, cases[i].code);
        assert_int_equal(event.exit.signal, cases[i].signal);
        assert_string_equal(event.exit.status, cases[i].status);
    }
}

static void test_what_is_new_is_no_error(void **state)
{
    struct process_event event;
    assert_int_equal(parse("{\"event\":{\"keepalive\":{}}}", &event), 0);
    assert_int_equal(event.kind, PROCESS_EVENT_OTHER);
    assert_int_equal(parse("{\"event\":{\"data\":{\"new\":\"eA==\"}}}", &event), 0);
    assert_int_equal(event.kind, PROCESS_EVENT_OTHER);
}

static void test_what_is_wrong_is_said(void **state)
{
    static const char *const wrong[] = {
        "",
        "{",
        "{\"event\":{\"data\":{\"stdout\":\"",
        "{\"event\":{\"data\":{\"stdout\":\"a*b\"}}}",
        "{\"event\":{\"data\":{\"stdout\":\"eA==\"}}",
        "{\"event\":{\"data\":{\"stdout\":\"eA==\",\"offset\":\"1\"",
        "{\"event\":{\"data\":{\"stdout\":\"eA==\",\"offset\":\"",
    };
    struct process_event event;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(parse(wrong[i], &event), -CARREL_SERVER);
    assert_int_equal(parse("{\"event\":{\"data\":{\"stdout\":5}}}", &event), 0);
    assert_int_equal(parse("[]", &event), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_forms_are_the_same),
        cmocka_unit_test(test_a_server_that_does_not_count),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_what_is_new_is_no_error),
        cmocka_unit_test(test_what_is_wrong_is_said),
    };
    buf_init(&bytes, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&bytes);
    return failed;
}
