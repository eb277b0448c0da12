/* SPDX-License-Identifier: Apache-2.0 */
/* err: text, numbers and translations. */
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
#include "base/err.h"

static void set_gives_the_number_and_the_text(void **state)
{
    struct err err;
    assert_int_equal(err_set(&err, ERR_NOT_FOUND, 0, "no %s", "cat"), -ENOENT);
    assert_string_equal(err.message, "no cat");
    assert_int_equal(err_os(&err, ENOSPC, "write %d", 7), -ENOSPC);
    assert_int_equal(err.code, ERR_NO_SPACE);
    assert_string_equal(err.message, "write 7: No space left on device");
    assert_int_equal(err_wrap(&err, "upload"), -ENOSPC);
    assert_string_equal(err.message, "upload: write 7: No space left on device");
    assert_int_equal(err_set(NULL, ERR_INVALID, 0, "x"), -EINVAL);
}

static void long_text_is_cut(void **state)
{
    struct err err;
    char text[600];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&err, ERR_INTERNAL, EIO, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    err_wrap(&err, "b");
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void translations(void **state)
{
    assert_string_equal(err_connect_code(ERR_TIMEOUT), "deadline_exceeded");
    assert_int_equal(err_http_status(ERR_NO_SPACE), 507);
    assert_int_equal(err_http_status(ERR_UNAUTHENTICATED), 401);
    assert_int_equal(err_exit_status(ERR_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(set_gives_the_number_and_the_text),
                                       cmocka_unit_test(long_text_is_cut),
                                       cmocka_unit_test(translations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
