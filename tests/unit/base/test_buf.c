/* SPDX-License-Identifier: Apache-2.0 */
/* buf: ceilings hold, consuming and growing keep the content. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/buf.h"

static void ceiling_holds_and_nothing_is_half_done(void **state)
{
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_append(&b, "12345678", 8), 0);
    assert_int_equal(buf_append(&b, "abc", 3), -ENOBUFS);
    assert_int_equal(buf_printf(&b, "%d", 12345), -ENOBUFS);
    assert_null(buf_reserve(&b, 3));
    assert_int_equal(buf_len(&b), 8);
    assert_int_equal(buf_append(&b, "ab", 2), 0);
    assert_string_equal(buf_cstr(&b), "12345678ab");
    buf_done(&b);
}

static void consume_then_append_moves_nothing_wrong(void **state)
{
    struct buf b;
    char expect = 0;
    size_t appended = 0, consumed = 0;
    buf_init(&b, 100000);
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < round % 97; i++)
            assert_int_equal(buf_append_char(&b, (char)(appended++ % 127)), 0);
        for (int i = 0; i < round % 89 && buf_len(&b); i++) {
            expect = (char)(consumed++ % 127);
            assert_int_equal(buf_ptr(&b)[0], expect);
            buf_consume(&b, 1);
        }
    }
    assert_int_equal(buf_len(&b), appended - consumed);
    buf_done(&b);
}

static void zeroed_struct_is_empty(void **state)
{
    struct buf b = {0};
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_append(&b, "x", 1), -ENOBUFS);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ceiling_holds_and_nothing_is_half_done),
        cmocka_unit_test(consume_then_append_moves_nothing_wrong),
        cmocka_unit_test(zeroed_struct_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
