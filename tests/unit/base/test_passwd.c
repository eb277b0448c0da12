/* SPDX-License-Identifier: Apache-2.0 */
/* passwd: look-ups in tables that may be hostile. */
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
#include <sys/stat.h>

#include "base/fd.h"
#include "base/passwd.h"

static char root[] = "/tmp/carrel-test-passwd-XXXXXX";

static int setup(void **state)
{
    static const char passwd[] = "broken\n:x:1:1:::\nroot:x:0:0:root:/root:/bin/bash\n"
                                 "bad:x:-1:0::/:/bin/sh\nbig:x:4294967295:0::/:/bin/sh\n"
                                 "user:x:1000:1000:,,,:/home/user:\nmany:x:1:1:a:b:c:d\n";
    static const char group[] = "root:x:0:\nuser:x:1000:\nsudo:x:27:other,user\nnope:x:5:users\n";
    char path[128];
    if (!mkdtemp(root))
        return -1;
    snprintf(path, sizeof path, "%s/etc", root);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/etc/passwd", root);
    fd_replace_file(AT_FDCWD, path, passwd, sizeof passwd - 1, 0644);
    snprintf(path, sizeof path, "%s/etc/group", root);
    return fd_replace_file(AT_FDCWD, path, group, sizeof group - 1, 0644);
}

static int teardown(void **state)
{
    char path[128];
    snprintf(path, sizeof path, "%s/etc/passwd", root);
    unlink(path);
    snprintf(path, sizeof path, "%s/etc/group", root);
    unlink(path);
    snprintf(path, sizeof path, "%s/etc", root);
    rmdir(path);
    return rmdir(root);
}

static void finds_users_with_groups(void **state)
{
    struct passwd_user user;
    assert_int_equal(passwd_lookup(root, STR("user"), &user), 0);
    assert_int_equal(user.uid, 1000);
    assert_string_equal(user.home, "/home/user");
    assert_string_equal(user.shell, "/bin/sh");
    assert_int_equal(user.group_count, 2);
    assert_int_equal(user.groups[0], 1000);
    assert_int_equal(user.groups[1], 27);
    passwd_user_done(&user);
}

static void refuses_what_is_not_a_user(void **state)
{
    static const char *const names[] = {"", "bad", "big", "many", "nobody", "user:x", "broken"};
    struct passwd_user user;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_int_equal(passwd_lookup(root, str_from(names[i]), &user), -ENOENT);
}

static void names_of_ids(void **state)
{
    char *name = passwd_user_name(root, 1000);
    assert_string_equal(name, "user");
    free(name);
    name = passwd_group_name(root, 27);
    assert_string_equal(name, "sudo");
    free(name);
    name = passwd_user_name(root, 4242);
    assert_string_equal(name, "4242");
    free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_users_with_groups),
                                       cmocka_unit_test(refuses_what_is_not_a_user),
                                       cmocka_unit_test(names_of_ids)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
