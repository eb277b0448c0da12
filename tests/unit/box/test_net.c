/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and names of sandboxes. What needs root is in tests/box/net_test.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "box/ns/net-internal.h"

static void expect_address(struct in_addr address, const char *text)
{
    char got[INET_ADDRSTRLEN];
    assert_non_null(inet_ntop(AF_INET, &address, got, sizeof(got)));
    assert_string_equal(got, text);
}

static void addresses(void **state)
{
    expect_address(net_subnet(0), "100.64.0.0");
    expect_address(net_subnet(7), "100.64.112.0");
    expect_address(net_address_gateway(0, 0), "100.64.0.0");
    expect_address(net_address_inside(0, 0), "100.64.0.1");
    expect_address(net_address_inside(1, 127), "100.64.16.255");
    expect_address(net_address_gateway(1, 128), "100.64.17.0");
    expect_address(net_address_inside(7, NET_SLOTS - 1), "100.64.127.255");
}

static void addresses_stay_in_the_subnet(void **state)
{
    uint32_t mask = UINT32_MAX << (32 - NET_PREFIX);
    for (unsigned instance = 0; instance < NET_INSTANCES; instance++) {
        uint32_t before = 0, subnet = ntohl(net_subnet(instance).s_addr);
        for (unsigned slot = 0; slot < NET_SLOTS; slot++) {
            uint32_t inside = ntohl(net_address_inside(instance, slot).s_addr);
            assert_int_equal(inside & mask, subnet);
            assert_true(inside > before);
            before = inside;
        }
    }
}

static void names(void **state)
{
    char name[IFNAMSIZ];
    net_link_name(0, 0, 0, name);
    assert_string_equal(name, "cr0-0aaa");
    net_link_name(7, NET_SLOTS - 1, 26 * 26 * 26 - 1, name);
    assert_string_equal(name, "cr7-2047zzz");
    net_link_name(7, 5, 27, name);
    assert_string_equal(name, "cr7-5abb");
    net_link_name(7, 5, 26 * 26 * 26, name);
    assert_string_equal(name, "cr7-5aaa");
}

static void refuses_bad_options(void **state)
{
    struct net_host *host = NULL;
    struct err err;
    struct net_options options = {.instance = NET_INSTANCES};
    assert_int_equal(net_host_open(&options, &host, &err), -EINVAL);
    assert_int_equal(err.code, ERR_INVALID);
    options = (struct net_options){.dns_count = NET_RESOLVERS + 1};
    assert_int_equal(net_host_open(&options, &host, &err), -EINVAL);
    assert_null(host);
    net_host_close(NULL, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(addresses_stay_in_the_subnet),
        cmocka_unit_test(names),
        cmocka_unit_test(refuses_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
