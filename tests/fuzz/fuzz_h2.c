/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2: the input is what a client sends after its preface, in pieces whose size the first byte
 * says; a server that echoes stands behind it. Whatever comes, each request that reaches the handler
 * has a method and a path of one word, and nothing is left at the end. */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "http/h2.h"
#include "http/loop.h"
#include "http/server.h"

enum { TURNS = 200 };

static int exchanges;

static void on_data(struct http_exchange *x, const char *p, size_t n, void *arg)
{
    http_respond_write(x, p, n);
}

static void on_end(struct http_exchange *x, int status, void *arg)
{
    http_respond_end(x);
}

static void on_closed(struct http_exchange *x, void *arg)
{
    exchanges--;
}

static bool one_word(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.p[i] <= ' ')
            return false;
    return text.len > 0;
}

static void handle(struct http_exchange *x, void *arg)
{
    static const struct http_exchange_events events = {.closed = on_closed};
    static const struct http_body_events body = {.data = on_data, .end = on_end};
    const struct http_request *request = http_exchange_request(x);
    FUZZ_CHECK(one_word(request->method) && one_word(request->target) && !request->upgrade);
    exchanges++;
    http_exchange_on(x, &events, NULL);
    http_respond_start(x, 200, HTTP_LENGTH_CHUNKED);
    http_respond_write(x, "begun\n", 6);
    http_body_read(x, &body, NULL);
}

static int listen_anywhere(void)
{
    struct sockaddr_un address = {.sun_family =
                                      AF_UNIX}; /* autobind: a name of the kernel's choice */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) == 0 &&
               listen(fd, 1) == 0);
    return fd;
}

static void turn(uv_loop_t *loop, int client)
{
    char answer[65536];
    uv_run(loop, UV_RUN_NOWAIT);
    while (recv(client, answer, sizeof answer, MSG_DONTWAIT) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    uv_loop_t loop = {0};
    struct http_server *server;
    struct stream *transport;
    int pair[2];
    const struct http_server_options options = {.handler = handle};
    if (n == 0)
        return 0;
    size_t step = p[0] ? p[0] : n;
    FUZZ_CHECK(uv_loop_init(&loop) == 0);
    FUZZ_CHECK(http_server_open(&loop, listen_anywhere(), &options, &server) == 0);
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    FUZZ_CHECK(stream_open(&loop, pair[0], NULL, NULL, &transport) == 0);
    h2_open(server, transport);
    FUZZ_CHECK(send(pair[1], greeting, sizeof greeting - 1, 0) > 0);
    for (size_t at = 1; at < n; at += step) {
        if (send(pair[1], p + at, n - at < step ? n - at : step, MSG_NOSIGNAL) < 0)
            break;
        turn(&loop, pair[1]);
    }
    turn(&loop, pair[1]);
    shutdown(pair[1], SHUT_WR);
    turn(&loop, pair[1]);
    http_server_close(server);
    int left = 1;
    for (int i = 0; i < TURNS && left; i++)
        left = uv_run(&loop, UV_RUN_NOWAIT);
    FUZZ_CHECK(left == 0 && exchanges == 0);
    http_loop_done(&loop);
    uv_run(&loop, UV_RUN_NOWAIT);
    FUZZ_CHECK(uv_loop_close(&loop) == 0);
    close(pair[1]);
    return 0;
}
