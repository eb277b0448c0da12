/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_head: what of a request's head reaches the sandbox. */
#include "unit.h"

#include "server/proxy_head.h"

static void assert_fields(const struct http_request *request,
                          const struct proxy_head_options *options, const char *expected)
{
    struct buf out;
    buf_init(&out, 65536);
    assert_int_equal(proxy_head_request(request, options, &out), 0);
    assert_string_equal(buf_cstr(&out), expected);
    buf_done(&out);
}

static void hop_by_hop(void **state)
{
    struct unit_request r;
    struct proxy_head_options options = {.port = 3000};
    assert_fields(unit_request(&r, "GET", "/", "Host", "3000-i.x", "connection", "keep-alive",
                               "Keep-Alive", "5", "TE", "trailers", "Transfer-Encoding", "chunked",
                               "Content-Length", "3", "Expect", "100-continue", "X-A", "1", NULL),
                  &options, "Host: 3000-i.x\r\nX-A: 1\r\nConnection: close\r\n");
    assert_fields(unit_request(&r, "GET", "/", "Host", "h", "Connection", "close, X-Secret",
                               "X-Secret", "s", "X-Other", "o", NULL),
                  &options, "Host: h\r\nX-Other: o\r\nConnection: close\r\n");
    assert_fields(unit_request(&r, "GET", "/", "Host", "h", "Upgrade", "h2c", NULL), &options,
                  "Host: h\r\nConnection: close\r\n"); /* no upgrade was asked for */
}

static void upgrade(void **state)
{
    struct unit_request r;
    struct proxy_head_options options = {.port = 3000};
    struct http_request *request =
        unit_request(&r, "GET", "/", "Host", "h", "Upgrade", "websocket", "Connection", "Upgrade",
                     "Sec-WebSocket-Key", "k", NULL);
    request->upgrade = true;
    assert_fields(
        request, &options,
        "Host: h\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
}

static void masked_host(void **state)
{
    struct unit_request r;
    struct proxy_head_options options = {.port = 8080, .mask_host = "localhost:${PORT}"};
    assert_fields(
        unit_request(&r, "GET", "/", "Host", "8080-i.x", "X-Forwarded-Host", "forged", NULL),
        &options, "Host: localhost:8080\r\nX-Forwarded-Host: 8080-i.x\r\nConnection: close\r\n");
    options.mask_host = "plain";
    assert_fields(unit_request(&r, "GET", "/", "Host", "h", NULL), &options,
                  "Host: plain\r\nX-Forwarded-Host: h\r\nConnection: close\r\n");
}

static void api_key(void **state)
{
    struct unit_request r;
    struct proxy_head_options options = {.port = 1};
    struct http_request *request = unit_request(&r, "GET", "/", "x-api-key", "k", NULL);
    assert_fields(request, &options, "x-api-key: k\r\nConnection: close\r\n");
    options.drop_api_key = true;
    assert_fields(request, &options, "Connection: close\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hop_by_hop),
        cmocka_unit_test(upgrade),
        cmocka_unit_test(masked_host),
        cmocka_unit_test(api_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
