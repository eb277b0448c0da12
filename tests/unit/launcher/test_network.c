/* SPDX-License-Identifier: Apache-2.0 */
/* Policies from messages: the launcher is root and believes nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "launcher/message.h"
#include "launcher/network.h"

static struct box_network result;

struct message {
    struct launcher_network head;
    struct launcher_range ranges[2];
    char names[16];
};

static const struct message good = {{1, 1, 16}, {{0x01010100, 24}, {0, 0}}, "a.b\0*.c.d\0eeeeee"};

static int read_bytes(const void *p, size_t len)
{
    struct err err;
    char *copy = xmalloc(len + 1); /* exact and unaligned */
    memcpy(copy + 1, p, len);
    int rc = network_from_message(copy + 1, len, &result, &err);
    free(copy);
    return rc;
}

static void a_good_one(void **state)
{
    assert_int_equal(read_bytes(&good, sizeof good - 1), -EINVAL); /* no NUL behind the last */
    struct message m = good;
    m.names[15] = '\0';
    assert_int_equal(read_bytes(&m, sizeof m), 0);
    assert_true(result.deny_all);
    assert_int_equal(result.allow_count, 1);
    assert_int_equal(result.allow[0].first, 0x01010100);
    assert_int_equal(result.allow[0].last, 0x010101ff);
    assert_int_equal(result.names_len, 16);
}

static void cut_anywhere(void **state)
{
    struct message m = good;
    m.names[15] = '\0';
    for (size_t len = 0; len < sizeof m; len++)
        assert_int_equal(read_bytes(&m, len), -EINVAL);
}

static void must_refuse(void (*spoil)(struct message *m))
{
    struct message m = good;
    m.names[15] = '\0';
    spoil(&m);
    assert_int_equal(read_bytes(&m, sizeof m), -EINVAL);
}

static void huge_count(struct message *m)
{
    m->head.allow_count = UINT32_MAX;
}
static void other_count(struct message *m)
{
    m->head.deny_count = 2;
}
static void huge_names(struct message *m)
{
    m->head.names_len = UINT32_MAX - 3;
}
static void long_prefix(struct message *m)
{
    m->ranges[0].prefix = 33;
}
static void host_bits(struct message *m)
{
    m->ranges[0].address |= 1;
}
static void upper_case(struct message *m)
{
    m->names[0] = 'A';
}
static void empty_name(struct message *m)
{
    m->names[0] = '\0';
}
static void no_final_nul(struct message *m)
{
    m->names[15] = 'x';
}
static void not_all_denied(struct message *m)
{
    m->ranges[1].prefix = 1;
}

static void bad_ones(void **state)
{
    void (*const spoils[])(struct message *) = {huge_count,  other_count,  huge_names,
                                                long_prefix, host_bits,    upper_case,
                                                empty_name,  no_final_nul, not_all_denied};
    for (size_t i = 0; i < ARRAY_SIZE(spoils); i++)
        must_refuse(spoils[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_one),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(bad_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
