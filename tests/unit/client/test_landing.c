/* SPDX-License-Identifier: Apache-2.0 */
/* Files that appear when they are complete. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "client/landing.h"

static char dir[] = "/tmp/carrel-landing-XXXXXX";

static int entries(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.' || strncmp(e->d_name, ".carrel", 7) == 0;
    closedir(d);
    return n;
}

static void land(const char *path, const char *text)
{
    struct landing landing;
    int before = entries();
    assert_int_equal(landing_open(&landing, AT_FDCWD, path), 0);
    assert_int_equal(fd_write_all(landing.fd, text, strlen(text)), 0);
    assert_int_equal(entries(), before);
    assert_int_equal(landing_finish(&landing, 0640, INT64_C(1000000000) * 1000000000), 0);
    landing_done(&landing);
}

static void check(const char *path, const char *text)
{
    struct stat st;
    size_t len;
    _cleanup_free_ char *found = NULL;
    assert_int_equal(fd_read_file(AT_FDCWD, path, 100, &found, &len), 0);
    assert_string_equal(found, text);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_mtime, 1000000000);
}

static void test_new_and_in_place_of_another(void **state)
{
    _cleanup_free_ char *path = xasprintf("%s/file", dir);
    land(path, "first");
    check(path, "first");
    land(path, "second");
    check(path, "second");
    assert_int_equal(entries(), 1);
    unlink(path);
}

static void test_a_link_is_replaced_and_not_followed(void **state)
{
    _cleanup_free_ char *path = xasprintf("%s/link", dir), *other = xasprintf("%s/other", dir);
    land(other, "other");
    assert_int_equal(symlink("other", path), 0);
    land(path, "mine");
    check(path, "mine");
    check(other, "other");
    unlink(path);
    unlink(other);
}

static void test_what_is_not_finished_is_gone(void **state)
{
    struct landing landing;
    _cleanup_free_ char *path = xasprintf("%s/file", dir), *none = xasprintf("%s/no/file", dir);
    assert_int_equal(landing_open(&landing, AT_FDCWD, path), 0);
    assert_int_equal(fd_write_all(landing.fd, "half", 4), 0);
    landing_done(&landing);
    assert_int_equal(entries(), 0);
    assert_int_equal(landing_open(&landing, AT_FDCWD, none), -ENOENT);
    landing_done(&landing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_and_in_place_of_another),
        cmocka_unit_test(test_a_link_is_replaced_and_not_followed),
        cmocka_unit_test(test_what_is_not_finished_is_gone),
    };
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
