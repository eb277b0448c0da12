/* SPDX-License-Identifier: Apache-2.0 */
/* Which nameservers of a resolv.conf are usable from a sandbox. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "box/ns/net-internal.h"

/* The addresses found, joined by blanks. */
static void expect(const char *text, const char *addresses)
{
    struct in_addr found[NET_RESOLVERS];
    unsigned count = net_resolvers_parse(str_from(text), found);
    char joined[128] = "";
    for (unsigned i = 0, at = 0; i < count; i++) {
        char one[INET_ADDRSTRLEN];
        assert_non_null(inet_ntop(AF_INET, &found[i], one, sizeof(one)));
        at += (unsigned)snprintf(joined + at, sizeof(joined) - at, "%s%s", i ? " " : "", one);
    }
    assert_string_equal(joined, addresses);
}

static void takes_nameservers(void **state)
{
    expect("", "");
    expect("nameserver 192.0.2.1", "192.0.2.1");
    expect("search example.org\nnameserver 192.0.2.1\nnameserver\t10.0.0.2  \noptions ndots:1\n",
           "192.0.2.1 10.0.0.2");
    expect("nameserver 192.0.2.1 # the first\r\nnameserver 192.0.2.2\r\n", "192.0.2.1 192.0.2.2");
    expect("nameserver 169.254.169.254\n", "169.254.169.254");
}

static void passes_over_what_is_useless_inside(void **state)
{
    expect("nameserver 127.0.0.53\nnameserver 127.0.0.1\nnameserver 0.0.0.0\n", "");
    expect("nameserver ::1\nnameserver fe80::1%eth0\nnameserver 192.0.2.1\n", "192.0.2.1");
    expect("nameserver 224.0.0.1\nnameserver 255.255.255.255\n", "");
}

static void is_strict(void **state)
{
    expect("nameserver\nnameserver \n", "");
    expect(" nameserver 192.0.2.1\n#nameserver 192.0.2.1\n;nameserver 192.0.2.1\n", "");
    expect("nameserver192.0.2.1\nnameservers 192.0.2.1\n", "");
    expect("nameserver 192.0.2\nnameserver 192.0.2.256\nnameserver 192.0.2.1.\n", "");
    expect("nameserver 192.0.2.1,192.0.2.2\nnameserver 0300.0.2.1\nnameserver a.example\n", "");
    expect("nameserver 192.168.100.100000000000000000000000000000000\n", "");
    struct in_addr found[NET_RESOLVERS];
    assert_int_equal(net_resolvers_parse(STR("nameserver 192.0.2.1\0.5\n"), found), 0);
}

static void takes_three_and_no_doubles(void **state)
{
    expect("nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"
           "nameserver 192.0.2.3\nnameserver 192.0.2.4\n",
           "192.0.2.1 192.0.2.2 192.0.2.3");
}

static void reads_the_host(void **state)
{
    struct in_addr found[NET_RESOLVERS];
    int count = net_resolvers(found);
    assert_in_range(count, 0, NET_RESOLVERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_nameservers), cmocka_unit_test(passes_over_what_is_useless_inside),
        cmocka_unit_test(is_strict),         cmocka_unit_test(takes_three_and_no_doubles),
        cmocka_unit_test(reads_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
