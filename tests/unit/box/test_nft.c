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
#include "box/network.h"
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
    assert_non_null(
        strstr(text_of(dns, 2, &out), "elements = { 10.1.2.3,\n            192.0.2.53 }"));
    buf_done(&out);
    const char *none = strstr(text_of(NULL, 0, &out), "set resolvers");
    assert_non_null(none);
    const char *end = strstr(none, "}");
    assert_null(memmem(none, (size_t)(end - none), "elements", 8));
    buf_done(&out);
}

/* A table made anew knows who lives and what they may do: there is no moment without. */
static void holds_members_from_the_beginning(void **state)
{
    struct box_network shut = {.deny_all = true,
                               .allow = {{0x01010100, 0x010101ff}},
                               .allow_count = 1,
                               .names_len = 4,
                               .names = "a.b"};
    struct box_network listed = {.deny = {{0, 7}}, .deny_count = 1};
    struct nft_member members[] = {{address("100.64.112.1"), 0xca000001, NULL},
                                   {address("100.64.112.3"), 0xca000002, &shut},
                                   {address("100.64.112.5"), 0xca000003, &listed}};
    struct nft_policy policy = {.instance = 7,
                                .subnet = address("100.64.112.0"),
                                .prefix = 20,
                                .relay = {.https = 1, .http = 2, .dns_udp = 3, .dns_tcp = 4},
                                .relay_address = address("100.64.128.7"),
                                .members = members,
                                .member_count = ARRAY_SIZE(members)};
    static const char *const parts[] = {
        "elements = { 100.64.112.1 : 0xca000001,\n",
        "set live {\n        type ipv4_addr . mark\n    }",
        "set listed {\n        type ipv4_addr\n        elements = { 100.64.112.5 }",
        "set shut {\n        type ipv4_addr\n        elements = { 100.64.112.3 }",
        "set relayed {\n        type ipv4_addr\n        elements = { 100.64.112.3 }",
        "elements = { 0x6440700301010100-0x64407003010101ff }",
        "elements = { 0x6440700500000000-0x6440700500000007 }",
        "tcp dport 443 dnat ip to 100.64.128.7:1\n",
    };
    struct buf out;
    buf_init(&out, 32768);
    assert_int_equal(nft_policy_text(&policy, &out), 0);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (!strstr(buf_cstr(&out), parts[i]))
            fail_msg("no %s in\n%s", parts[i], buf_cstr(&out));
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
        cmocka_unit_test(holds_members_from_the_beginning),
        cmocka_unit_test(respects_the_ceiling),
        cmocka_unit_test(finds_a_forward_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
