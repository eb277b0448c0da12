/* SPDX-License-Identifier: Apache-2.0 */
/* envelope: whole, cut and oversized. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "rpc/envelope.h"

static void what_is_appended_is_parsed(void **state)
{
    struct buf b;
    uint8_t flags;
    struct str payload;
    buf_init(&b, 1000);
    assert_int_equal(envelope_append(&b, 0, STR("hello")), 0);
    assert_int_equal(envelope_append(&b, ENVELOPE_END, STR("{}")), 0);
    assert_int_equal(envelope_parse(buf_str(&b), 100, &flags, &payload), 10);
    assert_int_equal(flags, 0);
    assert_true(str_eqz(payload, "hello"));
    buf_consume(&b, 10);
    assert_int_equal(envelope_parse(buf_str(&b), 100, &flags, &payload), 7);
    assert_int_equal(flags, ENVELOPE_END);
    assert_true(str_eqz(payload, "{}"));
    buf_done(&b);
}

static void every_cut_needs_more(void **state)
{
    static const char text[] = "\0\0\0\0\3abc";
    uint8_t flags = 77;
    struct str payload;
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(envelope_parse((struct str){text, n}, 3, &flags, &payload), 0);
    assert_int_equal(flags, 77);
    assert_int_equal(envelope_parse((struct str){text, 8}, 3, &flags, &payload), 8);
    assert_int_equal(envelope_parse((struct str){text, 8}, 2, &flags, &payload), -EMSGSIZE);
}

static void the_longest_length_is_refused_at_once(void **state)
{
    static const char text[] = "\1\xff\xff\xff\xff";
    uint8_t flags;
    struct str payload;
    unsigned char head[ENVELOPE_HEAD];
    assert_int_equal(envelope_parse((struct str){text, 5}, 4 << 20, &flags, &payload), -EMSGSIZE);
    envelope_head(1, UINT32_MAX, head);
    assert_memory_equal(head, text, 5);
}

static void the_ceiling_holds(void **state)
{
    struct buf b;
    buf_init(&b, 9);
    assert_int_equal(envelope_append(&b, 0, STR("hello")), -ENOBUFS);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(envelope_append(&b, 0, STR("")), 0);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_is_parsed),
        cmocka_unit_test(every_cut_needs_more),
        cmocka_unit_test(the_longest_length_is_refused_at_once),
        cmocka_unit_test(the_ceiling_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
