/* SPDX-License-Identifier: Apache-2.0 */
/* Server and client against each other in one loop, and the server against raw bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/loop.h"
#include "http/parser.h"
#include "http/relay.h"
#include "http/server.h"

struct fixture {
    uv_loop_t loop;
    struct http_server *server;
    char path[108];
    int closed;   /* `closed` callbacks seen */
    int body_end; /* status of the last body, 1 before */
    size_t body_bytes;
    size_t to_send;                  /* /big: bytes still to be written */
    uint64_t written, taken, queued; /* /flood: as written, and as seen in `closed` */
};

static void on_closed(struct http_exchange *x, void *arg)
{
    ((struct fixture *)arg)->closed++;
}

static void send_big(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    static char piece[50000];
    memset(piece, 'z', sizeof piece);
    while (f->to_send && http_respond_queued(x) == 0) {
        size_t n = f->to_send < sizeof piece ? f->to_send : sizeof piece;
        http_respond_write(x, piece, n);
        f->to_send -= n;
    }
    if (f->to_send == 0)
        http_respond_end(x);
}

static const struct http_exchange_events events = {.drained = send_big, .closed = on_closed};

static void echo_data(struct http_exchange *x, const char *p, size_t n, void *arg)
{
    ((struct fixture *)arg)->body_bytes += n;
    http_respond_write(x, p, n);
    http_body_pause(x); /* every piece once through pause and resume */
    http_body_resume(x);
}

static void echo_end(struct http_exchange *x, int status, void *arg)
{
    ((struct fixture *)arg)->body_end = status;
    http_respond_end(x);
}

static const struct http_exchange_events quiet = {.closed = on_closed};
static const struct http_body_events echo = {.data = echo_data, .end = echo_end};

static void collected(struct http_exchange *x, int status, struct str body, void *arg)
{
    if (status < 0)
        http_respond_error(x, 413, "status %d", status);
    else
        http_respond(x, 200, "text/plain", body);
}

static void echo_raw_done(void *arg)
{
}

static void take_raw(struct http_exchange *x, void *arg)
{
    int pair[2];
    struct buf left, none = {0};
    struct stream *raw = http_exchange_take_stream(x, &left), *other;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    /* the other end says hello and goes: the relay passes both on */
    assert_int_equal(write(pair[1], "hello", 5), 5);
    shutdown(pair[1], SHUT_WR);
    assert_int_equal(stream_open(http_exchange_loop(x), pair[0], NULL, NULL, &other), 0);
    relay_start(raw, &left, other, &none, 0, echo_raw_done, NULL);
    close(pair[1]);
}

static void flood_closed(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    f->taken = http_respond_taken(x);
    f->queued = http_respond_queued(x);
    f->closed++;
}

static void send_flood(struct http_exchange *x, struct fixture *f)
{
    static const struct http_exchange_events flood = {.closed = flood_closed};
    static char piece[50000];
    http_exchange_on(x, &flood, f);
    http_respond_start(x, 200, HTTP_LENGTH_CHUNKED);
    for (int i = 0; i < 40; i++)
        http_respond_write(x, piece, sizeof piece);
    f->written = http_respond_taken(x) + http_respond_queued(x);
}

static void handler(struct http_exchange *x, void *arg)
{
    static const struct http_exchange_events raw = {.drained = take_raw, .closed = on_closed};
    struct fixture *f = arg;
    const struct http_request *r = http_exchange_request(x);
    http_exchange_on(x, &quiet, f);
    if (str_eqz(r->path, "/hello")) {
        http_respond(x, 200, "text/plain", STR("hello"));
    } else if (str_eqz(r->path, "/echo")) {
        http_respond_start(x, 200, HTTP_LENGTH_CHUNKED);
        http_body_read(x, &echo, f);
    } else if (str_eqz(r->path, "/collect")) {
        http_body_collect(x, 1000, collected, f);
    } else if (str_eqz(r->path, "/big")) {
        http_exchange_on(x, &events, f);
        http_respond_start(x, 200, (int64_t)f->to_send);
        send_big(x, f);
    } else if (str_eqz(r->path, "/flood")) {
        send_flood(x, f);
    } else if (str_eqz(r->path, "/abort")) {
        http_respond_start(x, 200, 100);
        http_respond_write(x, "part", 4);
        http_exchange_abort(x);
    } else if (str_eqz(r->path, "/upgrade")) {
        http_exchange_on(x, &raw, f);
        http_respond_header(x, "Connection", "Upgrade");
        http_respond_header(x, "Upgrade", "test");
        http_respond_start(x, 101, HTTP_LENGTH_NONE);
    } else {
        http_respond_error(x, 404, "no \"%.*s\"", STR_ARG(r->path));
    }
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct http_server_options options = {.handler = handler, .arg = f};
    uv_loop_init(&f->loop);
    snprintf(f->path, sizeof f->path, "/tmp/carrel-test-http-%d.sock", getpid());
    unlink(f->path);
    memcpy(address.sun_path, f->path, strlen(f->path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0)
        return -1;
    f->body_end = 1;
    *state = f;
    return http_server_open(&f->loop, fd, &options, &f->server);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_server_close(f->server);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    http_loop_done(&f->loop);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    unlink(f->path);
    free(f);
    return 0;
}

/* ---- raw client ---- */

/* Sends text, runs the loop until the server closes or `enough` bytes came, returns what came. */
static char *talk(struct fixture *f, const char *text, size_t enough)
{
    static char answer[8192];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, f->path, strlen(f->path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    size_t got = 0;
    for (int turn = 0; turn < 100000 && got < enough; turn++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        ssize_t n = read(fd, answer + got, sizeof answer - 1 - got);
        if (n == 0)
            break;
        if (n > 0)
            got += (size_t)n;
    }
    answer[got] = '\0';
    close(fd);
    for (int turn = 0; turn < 20; turn++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    return answer;
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    char *answer =
        talk(f,
             "GET /hello HTTP/1.1\r\n\r\n"
             "POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
             "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
             "GET /none HTTP/1.1\r\nConnection: close\r\n\r\n",
             SIZE_MAX);
    char *hello = strstr(answer, "hello"), *abc = strstr(answer, "3\r\nabc\r\n0\r\n\r\n");
    char *de = strstr(answer, "2\r\nde\r\n0\r\n\r\n"), *none = strstr(answer, "no \\\"/none\\\"");
    assert_non_null(hello);
    assert_non_null(abc);
    assert_non_null(de);
    assert_non_null(none);
    assert_true(hello < abc && abc < de && de < none);
    assert_int_equal(f->closed, 4);
}

static void malformed_requests_get_400(void **state)
{
    static const char *const bad[] = {
        "garbage\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char *answer = talk(*state, bad[i], 40);
        if (strncmp(answer, "HTTP/1.1 400 ", 13) != 0)
            fail_msg("%s -> %s", bad[i], answer);
    }
}

/* Every field must come through wherever the pieces are cut, and folding be seen all the same. */
static void heads_cut_anywhere_are_the_same(void **state)
{
    static const char good[] = "GET /hello HTTP/1.1\r\nHost: a b\r\nEmpty:\r\nX: y\r\n\r\n";
    static const char folded[] = "GET /hello HTTP/1.1\r\nHost: a\r\n b\r\nX: y\r\n\r\n";
    for (size_t cut = 1; cut < sizeof good - 1; cut++) {
        struct parser *p = parser_new(HTTP_REQUEST, NULL, NULL);
        size_t used;
        enum parser_stop stop = parser_feed(p, good, cut, &used);
        assert_int_equal(stop, PARSER_MORE);
        stop = parser_feed(p, good + cut, sizeof good - 1 - cut, &used);
        assert_int_equal(stop, PARSER_HEAD);
        struct http_headers headers = parser_headers(p);
        assert_int_equal(headers.count, 3);
        assert_true(str_eqz(http_header_get(&headers, "host"), "a b"));
        assert_true(str_eqz(http_header_get(&headers, "empty"), ""));
        assert_true(str_eqz(http_header_get(&headers, "x"), "y"));
        parser_free(p);
    }
    for (size_t cut = 1; cut < sizeof folded - 1; cut++) {
        struct parser *p = parser_new(HTTP_REQUEST, NULL, NULL);
        size_t used;
        if (parser_feed(p, folded, cut, &used) == PARSER_MORE)
            assert_int_equal(parser_feed(p, folded + cut, sizeof folded - 1 - cut, &used),
                             PARSER_ERROR);
        parser_free(p);
    }
}

static void huge_head_gets_431(void **state)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_append_z(&text, "GET / HTTP/1.1\r\nX: ");
    for (int i = 0; i < 70000; i++)
        buf_append_char(&text, 'a');
    buf_append_z(&text, "\r\n\r\n");
    assert_int_equal(strncmp(talk(*state, buf_cstr(&text), 40), "HTTP/1.1 431 ", 13), 0);
    buf_clear(&text);
    buf_append_z(&text, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 200; i++)
        buf_printf(&text, "X%d: a\r\n", i);
    buf_append_z(&text, "\r\n");
    assert_int_equal(strncmp(talk(*state, buf_cstr(&text), 40), "HTTP/1.1 431 ", 13), 0);
    buf_done(&text);
}

static void cut_body_is_reported(void **state)
{
    struct fixture *f = *state;
    talk(f, "POST /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", 100);
    for (int turn = 0; turn < 50; turn++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(f->body_end, -ECONNRESET);
    assert_int_equal(f->closed, 1);
}

static void expect_continue_is_answered_only_when_the_body_is_read(void **state)
{
    char *answer =
        talk(*state,
             "POST /collect HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok", 120);
    assert_int_equal(strncmp(answer, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", 40), 0);
    answer =
        talk(*state,
             "POST /collect HTTP/1.1\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n", 60);
    assert_int_equal(strncmp(answer, "HTTP/1.1 413 ", 13), 0);
}

static void unread_body_does_not_break_the_next_request(void **state)
{
    char *answer = talk(*state,
                        "POST /none HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "5\r\nabcde\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nConnection: close\r\n\r\n",
                        SIZE_MAX);
    assert_int_equal(strncmp(answer, "HTTP/1.1 404 ", 13), 0);
    assert_non_null(strstr(answer, "\r\n\r\nhello"));
}

static void http_1_0_gets_no_chunks(void **state)
{
    char *answer = talk(*state, "POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", SIZE_MAX);
    assert_null(strstr(answer, "chunked"));
    assert_non_null(strstr(answer, "Connection: close"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\nabc");
}

static void abort_cuts(void **state)
{
    char *answer = talk(*state, "GET /abort HTTP/1.1\r\n\r\n", SIZE_MAX);
    assert_null(strstr(answer, "\r\n\r\npart0"));
}

/* A peer that reads a little and goes: what the socket has taken and what it has not are all there
 * was. */
static void what_was_taken_is_known_in_closed(void **state)
{
    struct fixture *f = *state;
    talk(f, "GET /flood HTTP/1.1\r\n\r\n", 8000);
    assert_int_equal(f->closed, 1);
    assert_true(f->written > 40 * 50000);
    assert_true(f->taken >= 8000 && f->queued > 0);
    assert_int_equal(f->taken + f->queued, f->written);
}

/* ---- http_call ---- */

struct call_log {
    struct fixture *f;
    struct http_call *call;
    int status, end;
    size_t bytes;
    char text[64];
    size_t to_send;
    bool over, upgraded;
    struct stream *stream;
};

static void call_head(struct http_call *call, const struct http_response *response, void *arg)
{
    struct call_log *log = arg;
    log->status = response->status;
    if (response->upgrade) {
        struct buf left;
        log->stream = http_call_take_stream(call, &left);
        memcpy(log->text, buf_str(&left).p, buf_len(&left) < 60 ? buf_len(&left) : 60);
        log->bytes = buf_len(&left);
        buf_done(&left);
        log->upgraded = log->over = true;
    }
}

static void call_data(struct http_call *call, const char *p, size_t n, void *arg)
{
    struct call_log *log = arg;
    if (log->bytes < sizeof log->text - 1)
        memcpy(log->text + log->bytes, p,
               n < sizeof log->text - 1 - log->bytes ? n : sizeof log->text - 1 - log->bytes);
    log->bytes += n;
    http_call_pause(call);
    http_call_resume(call);
}

static void call_end(struct http_call *call, int status, void *arg)
{
    struct call_log *log = arg;
    log->end = status;
    log->over = true;
    http_call_free(call);
}

static void call_drained(struct http_call *call, void *arg)
{
    static const char piece[40000];
    struct call_log *log = arg;
    while (log->to_send && http_call_queued(call) == 0) {
        size_t n = log->to_send < sizeof piece ? log->to_send : sizeof piece;
        http_call_write(call, piece, n);
        log->to_send -= n;
        if (log->to_send == 0)
            http_call_write_end(call);
    }
}

static struct call_log call(struct fixture *f, const char *method, const char *target,
                            const char *fields, int64_t length, size_t to_send)
{
    static const struct http_call_events call_events = {call_head, call_data, call_end,
                                                        call_drained};
    struct call_log log = {.f = f, .end = 1, .to_send = to_send};
    struct http_call_options options = {
        .loop = &f->loop, .socket_path = f->path, .events = &call_events, .arg = &log};
    int rc = http_call_open(&options, str_from(method), str_from(target), str_from(fields), length,
                            &log.call);
    assert_int_equal(rc, 0);
    while (!log.over)
        uv_run(&f->loop, UV_RUN_ONCE);
    return log;
}

static void call_reads_answers(void **state)
{
    struct fixture *f = *state;
    struct call_log log = call(f, "GET", "/hello", "Host: x\r\n", 0, 0);
    assert_int_equal(log.status, 200);
    assert_int_equal(log.end, 0);
    assert_string_equal(log.text, "hello");
    log = call(f, "HEAD", "/hello", "", 0, 0);
    assert_int_equal(log.status, 200);
    assert_int_equal(log.end, 0);
    assert_int_equal(log.bytes, 0);
    log = call(f, "GET", "/abort", "", 0, 0);
    assert_int_equal(log.end, -ECONNRESET);
}

static void bodies_of_any_size_pass_both_ways(void **state)
{
    struct fixture *f = *state;
    size_t sizes[] = {1, 1000, 300000, 20000000};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct call_log log =
            call(f, "POST", "/echo", "", i % 2 ? -1 : (int64_t)sizes[i], sizes[i]);
        assert_int_equal(log.end, 0);
        assert_int_equal(log.bytes, sizes[i]);
        f->to_send = sizes[i];
        log = call(f, "GET", "/big", "", 0, 0);
        assert_int_equal(log.end, 0);
        assert_int_equal(log.bytes, sizes[i]);
    }
}

static void upgrade_hands_over_the_stream(void **state)
{
    struct fixture *f = *state;
    struct call_log log =
        call(f, "GET", "/upgrade", "Connection: Upgrade\r\nUpgrade: test\r\n", 0, 0);
    assert_int_equal(log.status, 101);
    assert_true(log.upgraded);
    char text[8] = "";
    ssize_t n = -EAGAIN;
    memcpy(text, log.text, log.bytes);
    for (int turn = 0; turn < 1000 && log.bytes < 5; turn++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        n = stream_read(log.stream, text + log.bytes, sizeof text - 1 - log.bytes);
        log.bytes += n > 0 ? (size_t)n : 0;
    }
    assert_string_equal(text, "hello");
    stream_close(log.stream);
    http_call_free(log.call);
}

/* An upstream that answers without reading and closes: the caller gets the answer, not EPIPE. */
static void early_refusal_is_read(void **state)
{
    static const struct http_call_events call_events = {call_head, call_data, call_end,
                                                        call_drained};
    static const char refusal[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[108];
    snprintf(path, sizeof path, "%.90s.early", f->path);
    unlink(path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    struct call_log log = {.f = f, .end = 1, .to_send = 5000000};
    struct http_call_options options = {
        .loop = &f->loop, .socket_path = path, .events = &call_events, .arg = &log};
    assert_int_equal(http_call_open(&options, STR("POST"), STR("/"), STR(""), 5000000, &log.call),
                     0);
    int peer = accept(listener, NULL, NULL);
    assert_int_equal(write(peer, refusal, sizeof refusal - 1), sizeof refusal - 1);
    close(peer);
    while (!log.over)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(log.end, 0);
    assert_int_equal(log.status, 401);
    close(listener);
    unlink(path);
}

static void missing_socket_is_an_error(void **state)
{
    struct fixture *f = *state;
    static const struct http_call_events none = {0};
    struct http_call *c;
    struct http_call_options options = {
        .loop = &f->loop, .socket_path = "/tmp/carrel-test-nothing.sock", .events = &none};
    assert_int_equal(http_call_open(&options, STR("GET"), STR("/"), STR(""), 0, &c), -ENOENT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(pipelined_requests_are_answered_in_order),
        T(malformed_requests_get_400),
        cmocka_unit_test(heads_cut_anywhere_are_the_same),
        T(huge_head_gets_431),
        T(cut_body_is_reported),
        T(expect_continue_is_answered_only_when_the_body_is_read),
        T(unread_body_does_not_break_the_next_request),
        T(http_1_0_gets_no_chunks),
        T(what_was_taken_is_known_in_closed),
        T(abort_cuts),
        T(call_reads_answers),
        T(bodies_of_any_size_pass_both_ways),
        T(upgrade_hands_over_the_stream),
        T(early_refusal_is_read),
        T(missing_socket_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
