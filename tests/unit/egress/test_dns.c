/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages: there and back, cut, and such as nobody well-meaning sends. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "egress/dns.h"

static int read_answer(const void *bytes, size_t n, const char *name, struct dns_answer *ret)
{
    uint8_t *copy = xmalloc(n ? n : 1);
    memcpy(copy, bytes, n);
    int rc = dns_read_answer(copy, n, 0x1234, name, ret);
    free(copy);
    return rc;
}

static int read_query(const void *bytes, size_t n, struct dns_question *ret)
{
    uint8_t *copy = xmalloc(n ? n : 1);
    memcpy(copy, bytes, n);
    int rc = dns_read_query(copy, n, ret);
    free(copy);
    return rc;
}

static void there_and_back(void **state)
{
    uint8_t query[DNS_MESSAGE_MAX], reply[DNS_MESSAGE_MAX];
    struct dns_question q;
    struct dns_answer told = {.ttl = 60, .count = 2}, heard;
    size_t n = dns_write_query(0x1234, "a.example", query);
    assert_int_equal(read_query(query, n, &q), 0);
    assert_string_equal(q.name, "a.example");
    assert_int_equal(q.type, DNS_TYPE_A);
    assert_int_equal(q.id, 0x1234);
    inet_pton(AF_INET, "203.0.113.1", &told.addresses[0]);
    inet_pton(AF_INET, "203.0.113.2", &told.addresses[1]);
    n = dns_write_answer(&q, &told, reply);
    assert_int_equal(read_answer(reply, n, "a.example", &heard), 0);
    assert_int_equal(heard.count, 2);
    assert_int_equal(heard.ttl, 60);
    assert_memory_equal(heard.addresses, told.addresses, 2 * sizeof *told.addresses);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(read_answer(reply, cut, "a.example", &heard), -EINVAL);
    assert_int_equal(read_answer(reply, n, "b.example", &heard), -EINVAL);
    reply[0] ^= 1;
    assert_int_equal(read_answer(reply, n, "a.example", &heard), -EINVAL);
}

/* The longest name and the most addresses fit. */
static void the_largest(void **state)
{
    char name[HOSTNAME_SIZE];
    uint8_t query[DNS_MESSAGE_MAX], reply[DNS_MESSAGE_MAX];
    struct dns_question q;
    struct dns_answer told = {.count = DNS_ADDRESSES_MAX};
    memset(name, 'a', HOSTNAME_MAX);
    name[63] = name[127] = name[191] = '.';
    name[HOSTNAME_MAX] = '\0';
    size_t n = dns_write_query(1, name, query);
    assert_int_equal(read_query(query, n, &q), 0);
    assert_string_equal(q.name, name);
    n = dns_write_answer(&q, &told, reply);
    assert_true(n <= DNS_MESSAGE_MAX);
}

static void other_questions(void **state)
{
    uint8_t query[DNS_MESSAGE_MAX], reply[DNS_MESSAGE_MAX];
    struct dns_question q;
    struct dns_answer told = {.count = 1};
    size_t n = dns_write_query(7, "a.example", query);
    query[n - 14] = 28; /* AAAA */
    assert_int_equal(read_query(query, n, &q), 0);
    assert_int_equal(q.type, 28);
    dns_write_answer(&q, &told, reply);
    assert_int_equal(reply[7], 0); /* no answers */
    query[5] = 2;                  /* two questions */
    assert_int_equal(read_query(query, n, &q), 0);
    assert_int_equal(q.wire_len, 0);
    told.code = DNS_NOT_IMPLEMENTED;
    assert_int_equal(dns_write_answer(&q, &told, reply), 12);
    query[2] = 0x80; /* an answer */
    assert_int_equal(read_query(query, n, &q), -EINVAL);
}

static void names_in_queries(void **state)
{
    static const struct {
        const char *wire;
        size_t n;
        int rc;
        const char *name;
    } cases[] = {
        {"\1a\7example\0", 11, 0, "a.example"},
        {"\1A\7EXAMPLE\0", 11, 0, "a.example"},
        {"\0", 1, 0, ""},
        {"\3a\0b\0", 5, 0, ""},
        {"\3a b\0", 5, 0, ""},
        {"\1", 1, -EINVAL, NULL},
        {"\x40"
         "a\0",
         3, -EINVAL, NULL},
        {"\xc0\x0c", 2, -EINVAL, NULL}, /* to itself */
        {"\1a\xc0\x0c", 4, -EINVAL, NULL},
        {"\xc0\x20", 2, -EINVAL, NULL}, /* forwards */
        {"\xc0", 1, -EINVAL, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t message[128] = {0, 1, 1, 0, 0, 1};
        struct dns_question q;
        memcpy(message + 12, cases[i].wire, cases[i].n);
        memcpy(message + 12 + cases[i].n, "\0\1\0\1", 4);
        int rc = read_query(message, 12 + cases[i].n + 4, &q);
        if (rc != cases[i].rc)
            fail_msg("case %zu: %d", i, rc);
        if (rc == 0)
            assert_string_equal(q.name, cases[i].name);
    }
}

static size_t answer_with(const char *records, size_t len, unsigned count, uint8_t *out)
{
    static const uint8_t head[] = "\x12\x34\x81\x80\0\1\0\0\0\0\0\0\1a\7example\0\0\1\0\1";
    memcpy(out, head, sizeof head - 1);
    out[7] = (uint8_t)count;
    memcpy(out + sizeof head - 1, records, len);
    return sizeof head - 1 + len;
}

static void answers(void **state)
{
    uint8_t message[DNS_MESSAGE_MAX];
    struct dns_answer answer = {.count = 99};
    /* An alias, its address with a shorter life, and something unknown. */
    static const char chain[] = "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x0e"
                                "\xc0\x27\0\1\0\1\0\0\0\5\0\4\xcb\0\x71\1"
                                "\xc0\x0c\0\x63\0\1\0\0\1\0\0\1x";
    size_t n = answer_with(chain, sizeof chain - 1, 3, message);
    assert_int_equal(read_answer(message, n, "a.example", &answer), 0);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.ttl, 5);
    assert_int_equal(answer.addresses[0].s_addr, htonl(0xcb007101));
    static const char long_address[] = "\xc0\x0c\0\1\0\1\0\0\0\5\0\5\1\2\3\4\5";
    n = answer_with(long_address, sizeof long_address - 1, 1, message);
    assert_int_equal(read_answer(message, n, "a.example", &answer), -EINVAL);
    n = answer_with(chain, sizeof chain - 1, 4, message); /* more announced than there are */
    assert_int_equal(read_answer(message, n, "a.example", &answer), -EINVAL);
    static const char negative[] = "\xc0\x0c\0\1\0\1\x80\0\0\5\0\4\1\2\3\4";
    n = answer_with(negative, sizeof negative - 1, 1, message);
    assert_int_equal(read_answer(message, n, "a.example", &answer), 0);
    assert_int_equal(answer.ttl, 0);
    char many[16 * 64];
    for (size_t i = 0; i < 64; i++)
        memcpy(many + i * 16, "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 16);
    n = answer_with(many, sizeof many, 64, message);
    assert_int_equal(read_answer(message, n, "a.example", &answer), 0);
    assert_int_equal(answer.count, DNS_ADDRESSES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),  cmocka_unit_test(the_largest),
        cmocka_unit_test(other_questions), cmocka_unit_test(names_in_queries),
        cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
