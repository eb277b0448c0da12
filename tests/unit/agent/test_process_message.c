/* SPDX-License-Identifier: Apache-2.0 */
/* process_message, process_event: requests in, events out. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/process_event.h"
#include "agent/process_message.h"
#include "rpc/connect.h"
#include "rpc/envelope.h"

static json_t *json(const char *text)
{
    json_t *value = NULL;
    struct err err;
    assert_int_equal(rpc_decode(str_from(text), &value, &err), 0);
    return value;
}

static void a_full_start(void **state)
{
    json_t *in =
        json("{\"process\":{\"cmd\":\"/bin/bash\",\"args\":[\"-l\",\"\"],\"envs\":{\"A\":\"1\"},"
             "\"cwd\":\"\"},\"tag\":\"t\",\"stdin\":false,"
             "\"pty\":{\"size\":{\"cols\":80,\"rows\":\"24\"}}}");
    struct process_start_request r;
    struct err err;
    assert_int_equal(process_start_parse(in, &r, &err), 0);
    assert_int_equal(r.config.argc, 3);
    assert_string_equal(r.config.argv[1], "-l");
    assert_string_equal(r.config.argv[2], "");
    assert_null(r.config.argv[3]);
    assert_string_equal(r.config.cwd, "");
    assert_string_equal(r.config.tag, "t");
    assert_false(r.stdin_open);
    assert_true(r.pty && r.size.given && r.size.cols == 80 && r.size.rows == 24);
    json_t *info = process_info_json(&r.config, 7);
    char *text = json_dumps(info, JSON_COMPACT);
    assert_string_equal(text, "{\"config\":{\"cmd\":\"/bin/bash\",\"args\":[\"-l\",\"\"],\"envs\":"
                              "{\"A\":\"1\"},\"cwd\":\"\"},\"pid\":7,\"tag\":\"t\"}");
    free(text);
    json_decref(info);
    json_decref(in);
    process_start_done(&r);
}

static void the_least_start(void **state)
{
    json_t *in = json("{\"process\":{\"cmd\":\"x\"}}");
    struct process_start_request r;
    struct err err;
    assert_int_equal(process_start_parse(in, &r, &err), 0);
    assert_true(r.stdin_open && !r.pty && !r.config.cwd && !r.config.tag);
    process_start_done(&r);
    json_decref(in);
    in = json("{\"process\":{\"cmd\":\"x\"},\"pty\":{}}");
    assert_int_equal(process_start_parse(in, &r, &err), 0);
    assert_true(r.pty && !r.size.given);
    process_start_done(&r);
    json_decref(in);
}

static void signals(void **state)
{
    static const struct {
        const char *json;
        int rc, number;
    } cases[] = {
        {"{\"signal\":\"SIGNAL_SIGKILL\"}", 0, 9},
        {"{\"signal\":15}", 0, 15},
        {"{}", -ENOSYS, 0},
        {"{\"signal\":1}", 0, 1},
        {"{\"signal\":32}", -ENOSYS, 0},
        {"{\"signal\":\"SIGHUP\"}", -EINVAL, 0},
        {"{\"signal\":\"SIGNAL_UNSPECIFIED\"}", -ENOSYS, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *in = json(cases[i].json);
        struct err err;
        int number = 0;
        bool group;
        assert_int_equal(process_signal_parse(in, &number, &group, &err), cases[i].rc);
        assert_int_equal(number, cases[i].number);
        json_decref(in);
    }
}

static void events_are_what_the_wire_wants(void **state)
{
    struct buf out;
    struct err err;
    buf_init(&out, 1000);
    process_event_start(&out, RPC_CODEC_JSON, 12);
    process_event_data(&out, RPC_CODEC_JSON, &(struct spool_chunk){SPOOL_STDOUT, "hi\n", 3}, 0, 0);
    process_event_data(&out, RPC_CODEC_JSON, &(struct spool_chunk){SPOOL_STDERR, "\xff", 1}, 3, 0);
    process_event_data(&out, RPC_CODEC_JSON, &(struct spool_chunk){SPOOL_PTY, "ab", 2}, 12345678901,
                       70);
    process_event_end(&out, RPC_CODEC_JSON, &(struct process_end){0, true, "exit status 0", ""});
    process_event_end(&out, RPC_CODEC_JSON,
                      &(struct process_end){1, true, "exit status 1", "exit status 1"});
    process_event_end(&out, RPC_CODEC_JSON,
                      &(struct process_end){-1, false, "signal: killed", "out of memory"});
    static const char *const expected[] = {
        "{\"event\":{\"start\":{\"pid\":12}}}",
        "{\"event\":{\"data\":{\"stdout\":\"aGkK\",\"offset\":\"0\"}}}",
        "{\"event\":{\"data\":{\"stderr\":\"/w==\",\"offset\":\"3\"}}}",
        "{\"event\":{\"data\":{\"pty\":\"YWI=\",\"offset\":\"12345678901\",\"missed\":\"70\"}}}",
        "{\"event\":{\"end\":{\"exited\":true,\"status\":\"exit status 0\"}}}",
        "{\"event\":{\"end\":{\"exitCode\":1,\"exited\":true,\"status\":\"exit status 1\","
        "\"error\":\"exit status 1\"}}}",
        "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"signal: killed\","
        "\"error\":\"out of memory\"}}}",
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        uint8_t flags;
        struct str payload;
        json_t *parsed;
        int64_t n = envelope_parse(buf_str(&out), 1000, &flags, &payload);
        assert_true(n > 0 && flags == 0);
        assert_true(str_eqz(payload, expected[i]));
        assert_int_equal(rpc_decode(payload, &parsed, &err), 0);
        json_decref(parsed);
        buf_consume(&out, (size_t)n);
    }
    assert_int_equal(buf_len(&out), 0);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_start),
        cmocka_unit_test(the_least_start),
        cmocka_unit_test(signals),
        cmocka_unit_test(events_are_what_the_wire_wants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
