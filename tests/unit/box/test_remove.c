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
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/remove.h"

static char root[64];
static int root_fd;

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/carrel-remove-XXXXXX");
    assert_non_null(mkdtemp(root));
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return root_fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(root_fd);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = remove_tree(tmp, root + strlen("/tmp/"));
    close(tmp);
    return rc;
}

static void touch(const char *path)
{
    int fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool exists(const char *path)
{
    return faccessat(root_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void test_links_are_not_followed(void **state)
{
    (void)state;
    mkdirat(root_fd, "keep", 0755);
    touch("keep/file");
    mkdirat(root_fd, "tree", 0755);
    mkdirat(root_fd, "tree/sub", 0000);
    assert_int_equal(symlinkat("../keep", root_fd, "tree/link"), 0);
    assert_int_equal(symlinkat("/etc", root_fd, "tree/absolute"), 0);
    assert_int_equal(mkfifoat(root_fd, "tree/fifo", 0600), 0);
    assert_int_equal(linkat(root_fd, "keep/file", root_fd, "tree/hard", 0), 0);
    touch("tree/\xff\n name");
    assert_int_equal(remove_tree(root_fd, "tree"), 0);
    assert_false(exists("tree"));
    assert_true(exists("keep/file"));
    /* A link in place of the tree itself. */
    assert_int_equal(symlinkat("keep", root_fd, "tree"), 0);
    assert_int_equal(remove_tree(root_fd, "tree"), 0);
    assert_false(exists("tree"));
    assert_true(exists("keep/file"));
    assert_int_equal(remove_tree(root_fd, "tree"), 0);
}

/* Deeper than any path may be long, and with names that are in the way. */
static void test_depth(void **state)
{
    (void)state;
    enum { DEPTH = 3000 };
    mkdirat(root_fd, "tree", 0755);
    mkdirat(root_fd, "tree/.removing-0", 0755);
    touch("tree/.removing-0/x");
    mkdirat(root_fd, "tree/.removing-1", 0755);
    touch("tree/.removing-1/x");
    int fd = openat(root_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < DEPTH; i++) {
        assert_int_equal(mkdirat(fd, "dir", 0755), 0);
        int next = openat(fd, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(fd);
        fd = next;
        int file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        close(file);
    }
    close(fd);
    assert_int_equal(remove_tree(root_fd, "tree"), 0);
    assert_false(exists("tree"));
}

static void test_measure(void **state)
{
    (void)state;
    mkdirat(root_fd, "tree", 0755);
    mkdirat(root_fd, "tree/sub", 0755);
    uint64_t empty, full;
    assert_int_equal(remove_measure(root_fd, "tree", &empty), 0);
    int fd = openat(root_fd, "tree/sub/big", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char *block = xcalloc(1, 1 << 20);
    memset(block, 1, 1 << 20);
    assert_int_equal(fd_write_all(fd, block, 1 << 20), 0);
    assert_int_equal(fsync(fd), 0);
    close(fd);
    free(block);
    /* A second name does not make it more. */
    assert_int_equal(linkat(root_fd, "tree/sub/big", root_fd, "tree/again", 0), 0);
    assert_int_equal(remove_measure(root_fd, "tree", &full), 0);
    assert_in_range(full - empty, 1 << 20, (1 << 20) + 65536);
    assert_true(remove_measure(root_fd, "absent", &full) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_links_are_not_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_depth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_measure, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
