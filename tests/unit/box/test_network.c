/* SPDX-License-Identifier: Apache-2.0 */
/* Network policies as data: merged, printed, read back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "box/network.h"

static void ranges_are_merged(void **state)
{
    struct box_network n = {.deny = {{50, 60}, {10, 20}, {21, 30}, {15, 18}, {58, 70}, {90, 90}},
                            .deny_count = 6};
    box_network_settle(&n);
    assert_false(n.deny_all);
    assert_int_equal(n.deny_count, 3);
    const struct box_range expected[] = {{10, 30}, {50, 70}, {90, 90}};
    assert_memory_equal(n.deny, expected, sizeof expected);
    assert_true(box_network_restricts(&n));
    assert_false(box_network_closed(&n));
}

static void everything_is_deny_all(void **state)
{
    struct box_network n = {.deny = {{UINT32_C(1) << 31, UINT32_MAX}, {0, UINT32_C(1) << 31}},
                            .deny_count = 2};
    box_network_settle(&n);
    assert_true(n.deny_all);
    assert_int_equal(n.deny_count, 0);
    assert_true(box_network_closed(&n));
    n.allow_count = 1;
    assert_false(box_network_closed(&n));
    assert_false(box_network_restricts(NULL));
    assert_false(box_network_closed(NULL));
}

static struct box_network *sample(void)
{
    struct box_network *n = xcalloc(1, sizeof *n);
    static const char two[] = "a.example\0*.b.example";
    n->deny_all = true;
    n->allow_count = 2;
    n->allow[0] = (struct box_range){0x01020300, 0x010203ff};
    n->allow[1] = (struct box_range){0xffffffff, 0xffffffff};
    memcpy(n->names, two, sizeof two);
    n->names_len = sizeof two;
    return n;
}

static void round_trip(void **state)
{
    _cleanup_free_ struct box_network *n = sample(), *back = xcalloc(1, sizeof *back);
    struct buf text;
    buf_init(&text, BOX_NETWORK_MAX);
    assert_int_equal(box_network_print(n, &text), 0);
    assert_int_equal(box_network_parse(buf_str(&text), back), 0);
    assert_memory_equal(n, back, sizeof *n);
    buf_done(&text);
}

/* The fullest policy there can be fits into the file. */
static void the_fullest(void **state)
{
    _cleanup_free_ struct box_network *n = xcalloc(1, sizeof *n), *back = xcalloc(1, sizeof *back);
    struct buf text;
    for (uint32_t i = 0; i < BOX_RANGES_MAX; i++)
        n->allow[i] = n->deny[i] =
            (struct box_range){0xc8c8c800 + i * 0x10000, 0xc8c8c8ff + i * 0x10000};
    n->allow_count = n->deny_count = BOX_RANGES_MAX;
    box_network_settle(n);
    buf_init(&text, BOX_NETWORK_MAX);
    assert_int_equal(box_network_print(n, &text), 0);
    assert_int_equal(box_network_parse(buf_str(&text), back), 0);
    assert_memory_equal(n, back, sizeof *n);
    buf_done(&text);
}

static void cut_or_changed(void **state)
{
    _cleanup_free_ struct box_network *n = sample(), *back = xcalloc(1, sizeof *back);
    struct buf text;
    buf_init(&text, BOX_NETWORK_MAX);
    assert_int_equal(box_network_print(n, &text), 0);
    for (size_t len = 0; len < buf_len(&text); len++) {
        char *copy = xmalloc(len + 1); /* exact, for the address sanitizer */
        memcpy(copy, buf_ptr(&text), len);
        assert_int_equal(box_network_parse((struct str){copy, len}, back), -EINVAL);
        free(copy);
    }
    buf_done(&text);
    static const char *const bad[] = {"end=1\nend=1\n",         "version=2\nend=1\n",
                                      "allow=1.2.3.4\nend=1\n", "deny=2.0.0.0-1.0.0.0\nend=1\n",
                                      "name=A\nend=1\n",        "deny-all=2\nend=1\n",
                                      "what=1\nend=1\n",        "end=1\nversion=1\n",
                                      "name=a.b\nend=1\n",      "allow=1.1.1.1-\nend=1\n"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(box_network_parse(str_from(bad[i]), back), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_merged), cmocka_unit_test(everything_is_deny_all),
        cmocka_unit_test(round_trip),        cmocka_unit_test(the_fullest),
        cmocka_unit_test(cut_or_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
