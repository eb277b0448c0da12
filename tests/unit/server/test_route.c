/* SPDX-License-Identifier: Apache-2.0 */
/* route: headers, host labels, paths. */
#include "unit.h"

#include "server/route.h"

static struct route routed(const char *target, const char *host, const char *id, const char *port)
{
    struct unit_request r;
    struct route route;
    struct http_request *request = unit_request(&r, "GET", target, "Host", host, NULL);
    if (id)
        r.fields[request->headers.count++] =
            (struct http_header){STR("e2b-sandbox-id"), str_from(id)};
    if (port)
        r.fields[request->headers.count++] =
            (struct http_header){STR("E2B-Sandbox-Port"), str_from(port)};
    route_request(request, &route);
    return route;
}

static void assert_sandbox(struct route route, const char *id, int port)
{
    assert_int_equal(route.kind, ROUTE_SANDBOX);
    assert_string_equal(route.id, id);
    assert_int_equal(route.port, port);
}

static void assert_bad(struct route route, const char *text)
{
    assert_int_equal(route.kind, ROUTE_BAD);
    assert_string_equal(route.bad, text);
}

static void by_headers(void **state)
{
    assert_sandbox(routed("/health", "127.0.0.1:3000", "iabc", "49983"), "iabc", 49983);
    assert_sandbox(routed("/files", "any.example", "iabc-client", "49983"), "iabc", 49983);
    assert_sandbox(routed("/sandboxes", "127.0.0.1", "iabc", "80"), "iabc", 80);
    assert_bad(routed("/", "localhost", "iabc", NULL), "missing header");
    assert_bad(routed("/", "localhost", NULL, "80"), "missing header");
    assert_bad(routed("/", "localhost", "", "80"), "Invalid sandbox ID");
    assert_bad(routed("/", "localhost", "../etc", "80"), "Invalid sandbox ID");
    assert_bad(routed("/", "localhost", "i23456789012345678901234567890123", "80"),
               "Invalid sandbox ID");
    assert_bad(routed("/", "localhost", "iabc", "0"), "Invalid sandbox port");
    assert_bad(routed("/", "localhost", "iabc", "65536"), "Invalid sandbox port");
    assert_bad(routed("/", "localhost", "iabc", "80 "), "Invalid sandbox port");
    assert_bad(routed("/", "localhost", "iabc", ""), "Invalid sandbox port");
}

static void by_host_label(void **state)
{
    assert_sandbox(routed("/", "3000-iabc.sbx.localhost:3000", NULL, NULL), "iabc", 3000);
    assert_sandbox(routed("/x", "49983-IABC-extra-more.example.com", NULL, NULL), "iabc", 49983);
    assert_bad(routed("/", "0-iabc.localhost", NULL, NULL), "Invalid sandbox port");
    assert_bad(routed("/", "99999-iabc.localhost", NULL, NULL), "Invalid sandbox port");
    assert_bad(routed("/", "3000-.localhost", NULL, NULL), "Invalid sandbox ID");
    assert_bad(routed("/", "3000-i_b.localhost", NULL, NULL), "Invalid sandbox ID");
    /* headers win over the label */
    assert_sandbox(routed("/", "3000-iabc.localhost", "idef", "80"), "idef", 80);
}

static void control_api(void **state)
{
    static const char *const hosts[] = {
        "127.0.0.1:3000", "[::1]:3000",    "localhost", "api.example", "my-host.example",
        "3000-iabc",      "-iabc.example", "",          "10.0.0.1"};
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
        assert_int_equal(routed("/sandboxes", hosts[i], NULL, NULL).kind, ROUTE_API);
    assert_int_equal(routed("/files?signature=v1_x", "localhost", NULL, NULL).kind, ROUTE_FILES);
    assert_int_equal(routed("/files/x", "localhost", NULL, NULL).kind, ROUTE_API);
}

static void no_host(void **state)
{
    struct unit_request r;
    struct route route;
    route_request(unit_request(&r, "GET", "/", NULL), &route);
    assert_int_equal(route.kind, ROUTE_API);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_headers),
        cmocka_unit_test(by_host_label),
        cmocka_unit_test(control_api),
        cmocka_unit_test(no_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
