/* SPDX-License-Identifier: Apache-2.0 */
/* path: text of paths. */
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
#include "base/path.h"

static void check(const char *path, const char *base, const char *dir)
{
    assert_true(str_eqz(path_base(str_from(path)), base));
    assert_true(str_eqz(path_dir(str_from(path)), dir));
}

static void parts(void **state)
{
    check("/a/b", "b", "/a");
    check("/a/b///", "b", "/a");
    check("/a", "a", "/");
    check("/", "/", "/");
    check("a", "a", ".");
    check("a//b", "b", "a");
}

static void joins(void **state)
{
    char *p = path_join("/a/", "b");
    assert_string_equal(p, "/a/b");
    free(p);
    p = path_join("/a", "b");
    assert_string_equal(p, "/a/b");
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts), cmocka_unit_test(joins)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
