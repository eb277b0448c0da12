/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/copy.h"
#include "box/remove.h"

static char root[64];
static int root_fd, from_fd;
static atomic_bool stop;

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/carrel-copy-XXXXXX");
    assert_non_null(mkdtemp(root));
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mkdirat(root_fd, "from", 0755);
    from_fd = openat(root_fd, "from", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    stop = false;
    return from_fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(root_fd);
    close(from_fd);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = remove_tree(tmp, root + strlen("/tmp/"));
    close(tmp);
    return rc;
}

static int copy(struct err *err)
{
    struct copy_result result;
    return copy_tree(from_fd, root_fd, "to", &stop, &result, err);
}

static void put(const char *path, const char *text, mode_t mode)
{
    int fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static struct stat look(const char *path)
{
    struct stat st;
    if (fstatat(root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        fail_msg("no %s", path);
    return st;
}

static void test_kinds(void **state)
{
    (void)state;
    struct err err;
    char path[128], value[16];
    put("from/file", "text", 04711);
    assert_int_equal(linkat(root_fd, "from/file", root_fd, "from/again", 0), 0);
    mkdirat(root_fd, "from/dir", 01777);
    assert_int_equal(linkat(root_fd, "from/file", root_fd, "from/dir/third", 0), 0);
    assert_int_equal(symlinkat("/etc/passwd", root_fd, "from/link"), 0);
    assert_int_equal(mkfifoat(root_fd, "from/pipe", 0640), 0);
    put("from/hole", "", 0644);
    snprintf(path, sizeof path, "%s/from/hole", root);
    assert_int_equal(truncate(path, 1 << 30), 0);
    snprintf(path, sizeof path, "%s/from/file", root);
    assert_int_equal(setxattr(path, "user.note", "kept", 4, 0), 0);
    const struct timespec times[2] = {{1000, 0}, {2000, 5}};
    assert_int_equal(utimensat(root_fd, "from/dir", times, 0), 0);
    assert_int_equal(copy(&err), 0);

    assert_int_equal(look("to/file").st_mode, S_IFREG | 04711);
    assert_int_equal(look("to/file").st_nlink, 3);
    assert_int_equal(look("to/file").st_ino, look("to/dir/third").st_ino);
    assert_int_not_equal(look("to/file").st_ino, look("from/file").st_ino);
    assert_true(S_ISLNK(look("to/link").st_mode));
    assert_true(S_ISFIFO(look("to/pipe").st_mode));
    assert_int_equal(look("to/hole").st_size, 1 << 30);
    assert_true(look("to/hole").st_blocks < 100);
    assert_int_equal(look("to/dir").st_mtim.tv_sec, 2000);
    assert_int_equal(look("to/dir").st_mtim.tv_nsec, 5);
    snprintf(path, sizeof path, "%s/to/again", root);
    assert_int_equal(getxattr(path, "user.note", value, sizeof value), 4);
}

/* What makes a layer of it. Needs root, as do owners. */
static void test_layer(void **state)
{
    (void)state;
    struct err err;
    char path[128], value[16];
    if (geteuid() != 0)
        skip();
    mkdirat(root_fd, "from/dir", 0755);
    assert_int_equal(mknodat(root_fd, "from/gone", S_IFCHR, makedev(0, 0)), 0);
    snprintf(path, sizeof path, "%s/from/dir", root);
    assert_int_equal(setxattr(path, "trusted.overlay.opaque", "y", 1, 0), 0);
    assert_int_equal(setxattr(path, "trusted.overlay.redirect", "/x", 2, 0), 0);
    assert_int_equal(setxattr(path, "trusted.overlay.origin", "z", 1, 0), 0);
    assert_int_equal(chown(path, 1000, 1001), 0);
    assert_int_equal(copy(&err), 0);
    assert_int_equal(look("to/dir").st_uid, 1000);
    assert_int_equal(look("to/dir").st_gid, 1001);
    assert_true(S_ISCHR(look("to/gone").st_mode) && look("to/gone").st_rdev == 0);
    snprintf(path, sizeof path, "%s/to/dir", root);
    assert_int_equal(getxattr(path, "trusted.overlay.opaque", value, sizeof value), 1);
    assert_int_equal(getxattr(path, "trusted.overlay.redirect", value, sizeof value), 2);
    assert_int_equal(getxattr(path, "trusted.overlay.origin", value, sizeof value), -1);
}

static void nest(int levels)
{
    int dir = fcntl(from_fd, F_DUPFD_CLOEXEC, 3);
    for (int i = 0; i < levels; i++) {
        assert_int_equal(mkdirat(dir, "d", 0755), 0);
        int next = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(dir);
        dir = next;
    }
    close(dir);
}

static void test_depth(void **state)
{
    (void)state;
    struct err err;
    nest(200);
    assert_int_equal(copy(&err), 0);
    assert_int_equal(remove_tree(root_fd, "to"), 0);
    assert_int_equal(remove_tree(from_fd, "d"), 0);
    nest(COPY_DEPTH_MAX + 1);
    assert_true(copy(&err) < 0);
    assert_int_equal(err.code, ERR_EXHAUSTED);
}

static void test_stop(void **state)
{
    (void)state;
    struct err err;
    put("from/file", "text", 0644);
    stop = true;
    assert_true(copy(&err) < 0);
    assert_int_equal(err.code, ERR_CANCELED);
}

static void test_names_of_all_kinds(void **state)
{
    (void)state;
    struct err err;
    char longest[256], path[300];
    memset(longest, 'x', 255);
    longest[255] = '\0';
    static const char *const names[] = {"new\nline", "\xff\xfe", " ", "-rf", "a\\b", "%s%n"};
    snprintf(path, sizeof path, "from/%s", longest);
    put(path, "", 0600);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof path, "from/%s", names[i]);
        put(path, names[i], 0600);
    }
    assert_int_equal(copy(&err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof path, "to/%s", names[i]);
        assert_int_equal(look(path).st_size, strlen(names[i]));
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_kinds), TEST(test_layer), TEST(test_depth), TEST(test_stop),
        TEST(test_names_of_all_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
