/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "box/instance.h"
#include "box/plan.h"
#include "box/remove.h"

static char root[64];
static char *numbers;

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/carrel-instance-XXXXXX");
    assert_non_null(mkdtemp(root));
    numbers = path_join(root, "numbers");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(numbers);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = remove_tree(tmp, root + strlen("/tmp/"));
    close(tmp);
    return rc;
}

static char *state_dir(const char *name, bool with_sandbox)
{
    char *path = xasprintf("%s/%s%s", root, name, with_sandbox ? "/sandboxes/x" : "");
    assert_int_equal(path_make_dirs(path, 0755), 0);
    free(path);
    return xasprintf("%s/%s", root, name);
}

static int claim(const char *name, bool with_sandbox, unsigned *number, int *lock, struct err *err)
{
    char *path = state_dir(name, with_sandbox);
    int rc = instance_claim(numbers, path, number, lock, err);
    free(path);
    return rc;
}

static void test_numbers_stay(void **state)
{
    (void)state;
    struct err err;
    unsigned a, b, again;
    int lock_a, lock_b, lock;
    assert_int_equal(claim("a", true, &a, &lock_a, &err), 0);
    assert_int_equal(claim("b", true, &b, &lock_b, &err), 0);
    assert_int_not_equal(a, b);
    /* While it runs nobody else may have it. */
    assert_true(claim("a", true, &again, &lock, &err) < 0);
    assert_int_equal(err.code, ERR_CONFLICT);
    close(lock_a);
    close(lock_b);
    assert_int_equal(claim("b", true, &again, &lock, &err), 0);
    assert_int_equal(again, b);
    close(lock);
}

static void test_taking_over(void **state)
{
    (void)state;
    struct err err;
    unsigned number, last;
    int lock, locks[BOX_INSTANCES];
    char name[8];
    for (int i = 0; i < BOX_INSTANCES; i++) {
        snprintf(name, sizeof name, "s%d", i);
        assert_int_equal(claim(name, true, &number, &locks[i], &err), 0);
        assert_int_equal(number, i);
    }
    assert_true(claim("more", false, &number, &lock, &err) < 0);
    assert_int_equal(err.code, ERR_EXHAUSTED);
    /* Not running, but its sandboxes may be. */
    close(locks[3]);
    assert_true(claim("more", false, &number, &lock, &err) < 0);
    /* No sandbox is left, but it runs. */
    int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(remove_tree(dir, "s5/sandboxes"), 0);
    assert_true(claim("more", false, &number, &lock, &err) < 0);
    close(locks[5]);
    assert_int_equal(claim("more", false, &last, &lock, &err), 0);
    assert_int_equal(last, 5);
    /* The state directory is gone altogether. */
    assert_int_equal(remove_tree(dir, "s3"), 0);
    close(dir);
    int lock_more;
    assert_int_equal(claim("evenmore", false, &last, &lock_more, &err), 0);
    assert_int_equal(last, 3);
    close(lock);
    close(lock_more);
}

/* A link to the directory is the same directory. */
static void test_same_by_another_name(void **state)
{
    (void)state;
    struct err err;
    unsigned number;
    int lock, second;
    char *link = xasprintf("%s/link", root);
    char *path = state_dir("a", true);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(instance_claim(numbers, path, &number, &lock, &err), 0);
    assert_true(instance_claim(numbers, link, &number, &second, &err) < 0);
    assert_int_equal(err.code, ERR_CONFLICT);
    close(lock);
    free(path);
    free(link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_taking_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_by_another_name, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
