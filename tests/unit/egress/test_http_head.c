/* SPDX-License-Identifier: Apache-2.0 */
/* Heads that go on, as they are written, and heads that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "egress/http_head.h"

static struct http_header fields[8];
static struct http_want want;
static struct buf out;

static struct http_headers headers_of(const char *const text[])
{
    size_t n = 0;
    for (; text[n * 2]; n++)
        fields[n] = (struct http_header){str_from(text[n * 2]), str_from(text[n * 2 + 1])};
    return (struct http_headers){fields, n};
}

static const char *rewrite(const char *method, const char *target, int64_t length,
                           const char *const text[])
{
    struct http_headers headers = headers_of(text);
    struct str host;
    buf_done(&out);
    buf_init(&out, 65536);
    return http_head_rewrite(str_from(method), str_from(target), 11, &headers, length, &out, &want,
                             &host);
}

static void writes_it_anew(void **state)
{
    static const char *const text[] = {"hOst",       "API.example.com:80",
                                       "Accept",     "*/*",
                                       "Connection", "keep-alive, X-Secret",
                                       "X-Secret",   "1",
                                       "Keep-Alive", "5",
                                       "Upgrade",    "h2c",
                                       NULL};
    assert_null(rewrite("GET", "/a?b", 0, text));
    assert_string_equal(want.name, "api.example.com");
    assert_false(want.upgrade);
    assert_string_equal(buf_cstr(&out), "GET /a?b HTTP/1.1\r\nHost: api.example.com\r\n"
                                        "Accept: */*\r\nConnection: close\r\n\r\n");
    static const char *const body[] = {"Host", "a.b", "Content-Length", "5", NULL};
    assert_null(rewrite("POST", "http://A.b:80", 5, body));
    assert_string_equal(buf_cstr(&out), "POST / HTTP/1.1\r\nHost: a.b\r\nContent-Length: 5\r\n"
                                        "Connection: close\r\n\r\n");
    assert_null(rewrite("POST", "http://a.b?q", 5, body));
    assert_non_null(strstr(buf_cstr(&out), "POST /?q HTTP/1.1\r\nHost: a.b\r\n"));
    static const char *const chunked[] = {"Host", "a.b", "Transfer-Encoding", "Chunked", NULL};
    assert_null(rewrite("PUT", "/", -1, chunked));
    assert_non_null(strstr(buf_cstr(&out), "\r\nTransfer-Encoding: chunked\r\n"));
    static const char *const socket[] = {"Host",    "a.b",       "Connection", "Upgrade",
                                         "Upgrade", "WebSocket", NULL};
    assert_null(rewrite("GET", "/", 0, socket));
    assert_true(want.upgrade);
    assert_non_null(strstr(buf_cstr(&out), "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"));
}

static void refuses(void **state)
{
    static const char *const none[] = {"Accept", "*/*", NULL};
    static const char *const two[] = {"Host", "a.b", "host", "a.b", NULL};
    static const char *const nameless[] = {"Host", "a.b", "", "x", NULL};
    static const char *const good[] = {"Host", "a.b", NULL};
    static const char *const odd[] = {"Host", "a.b", "Transfer-Encoding", "gzip, chunked", NULL};
    assert_non_null(rewrite("GET", "/", 0, none));
    assert_non_null(rewrite("GET", "/", 0, two));
    assert_non_null(rewrite("GET", "/", 0, nameless));
    assert_non_null(rewrite("CONNECT", "/", 0, good));
    assert_non_null(rewrite("PUT", "/", -1, odd));
    static const char *const targets[] = {"",
                                          "a.b",
                                          "a.b:80",
                                          "http://c.d/",
                                          "http:///",
                                          "https://a.b/",
                                          "http://a.b@c.d/",
                                          "http://c.d@a.b/",
                                          "http://a.b:81/",
                                          "http://[::1]/"};
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
        if (!rewrite("GET", targets[i], 0, good))
            fail_msg("%s", targets[i]);
    static const char *const hosts[] = {"",    "a.b:81",    "a.b:", "1.2.3.4",  "[::1]",  "a.b/c",
                                        "a b", "a.b:80:80", "*.b",  "user@a.b", "a.b,c.d"};
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        const char *const text[] = {"Host", hosts[i], NULL};
        if (!rewrite("GET", "/", 0, text))
            fail_msg("%s", hosts[i]);
    }
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_it_anew),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
