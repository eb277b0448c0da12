/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/resolve.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static void paths(void **state)
{
    (void)state;
    static const struct {
        const char *path, *workdir, *want;
    } cases[] = {
        {"", "/work", "/work"},
        {"", NULL, "/home/u"},
        {"", "", "/home/u"},
        {"~", "/work", "/home/u"},
        {"~/", "/work", "/home/u"},
        {"~/a/b", "/work", "/home/u/a/b"},
        {"~//a", "/work", "/home/u/a"},
        {"/", "/work", "/"},
        {"/a/../b//c/./", "/work", "/a/../b//c/./"},
        {"a", "/work", "/home/u/a"},
        {"a/../b/", "/work", "/home/u/a/../b/"},
        {"./a~b", NULL, "/home/u/./a~b"},
        {"..", NULL, "/home/u/.."},
        {"tab\tnew\nline\xff", NULL, "/home/u/tab\tnew\nline\xff"},
    };
    struct passwd_user user = {.name = (char[]){"u"}, .home = (char[]){"/home/u"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *got = NULL;
        assert_int_equal(resolve_path(&user, cases[i].workdir, str_from(cases[i].path), &got, NULL),
                         0);
        assert_string_equal(got, cases[i].want);
    }
    user.home = (char[]){"/"};
    _cleanup_free_ char *got = NULL;
    assert_int_equal(resolve_path(&user, NULL, STR("a"), &got, NULL), 0);
    assert_string_equal(got, "/a");
}

static void refused(void **state)
{
    (void)state;
    struct passwd_user user = {.name = (char[]){"u"}, .home = (char[]){"/home/u"}};
    struct str bad[] = {STR("~u"), STR("~u/x"), STR("~~"), STR("a\0b"), STR("/\0"), STR("\0")};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char *got = NULL;
        struct err err = {0};
        assert_int_equal(resolve_path(&user, "/work", bad[i], &got, &err), -EINVAL);
        assert_null(got);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
