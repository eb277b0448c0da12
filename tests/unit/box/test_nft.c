/* SPDX-License-Identifier: Apache-2.0 */
/* The ruleset's text and the search for foreign rules.
 * What the rules do is tested by tests/box/net_test.c with packets. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "box/ns/nft.h"

static struct in_addr address(const char *text)
{
    struct in_addr result;
    assert_int_equal(inet_pton(AF_INET, text, &result), 1);
    return result;
}

static const char *text_of(const struct in_addr *dns, unsigned count, struct buf *out)
{
    struct nft_policy policy = {.instance = 7,
                                .subnet = address("100.64.112.0"),
                                .prefix = 20,
                                .dns = dns,
                                .dns_count = count};
    buf_init(out, 16384);
    assert_int_equal(nft_policy_text(&policy, out), 0);
    return buf_cstr(out);
}

static void replaces_the_table_at_once(void **state)
{
    struct buf out;
    const char *text = text_of(NULL, 0, &out);
    const char *begin = "table inet carrel7\ndelete table inet carrel7\ntable inet carrel7 {\n";
    assert_memory_equal(text, begin, strlen(begin));
    buf_done(&out);
}

static void names_links_and_subnet(void **state)
{
    struct buf out;
    const char *text = text_of(NULL, 0, &out);
    assert_non_null(strstr(text, "ip saddr 100.64.112.0/20 oifname != \"cr7-*\" masquerade"));
    assert_non_null(strstr(text, "iifname \"cr7-*\" jump from_sandbox"));
    assert_null(strstr(text, "cr0-"));
    buf_done(&out);
}

static void lists_resolvers(void **state)
{
    struct buf out;
    struct in_addr dns[] = {address("10.1.2.3"), address("192.0.2.53")};
    assert_non_null(strstr(text_of(dns, 2, &out), "elements = { 10.1.2.3, 192.0.2.53 }"));
    buf_done(&out);
    const char *none = strstr(text_of(NULL, 0, &out), "set resolvers");
    assert_non_null(none);
    assert_null(strstr(none, "elements"));
    buf_done(&out);
}

static void respects_the_ceiling(void **state)
{
    struct nft_policy policy = {.instance = 0, .subnet = address("100.64.0.0"), .prefix = 20};
    for (size_t ceiling = 0; ceiling < 2000; ceiling += 97) {
        struct buf out;
        buf_init(&out, ceiling);
        assert_true(nft_policy_text(&policy, &out) < 0);
        buf_done(&out);
    }
}

static void finds_a_forward_drop(void **state)
{
    char found[96];
    nft_find_forward_drop("", found, sizeof(found));
    assert_string_equal(found, "");
    nft_find_forward_drop("table ip filter {\n\tchain INPUT {\n"
                          "\t\ttype filter hook input priority filter; policy drop;\n\t}\n"
                          "\tchain FORWARD {\n"
                          "\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}\n",
                          found, sizeof(found));
    assert_string_equal(found, "");
    nft_find_forward_drop("table inet mine {\n\tchain a {\n\t}\n}\ntable ip filter {\n"
                          "\tchain DOCKER {\n\t}\n\tchain FORWARD {\n"
                          "\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n",
                          found, sizeof(found));
    assert_string_equal(found, "table ip filter, chain FORWARD");
    char small[12];
    nft_find_forward_drop("table ip filter {\nchain F {\nhook forward policy drop\n", small,
                          sizeof(small));
    assert_string_equal(small, "table ip fi");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_the_table_at_once),
        cmocka_unit_test(names_links_and_subnet),
        cmocka_unit_test(lists_resolvers),
        cmocka_unit_test(respects_the_ceiling),
        cmocka_unit_test(finds_a_forward_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
