/* SPDX-License-Identifier: Apache-2.0 */
/* Walls that are taken down for tests: names, and what they change in a plan. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "box/plan.h"
#include "box/weaken.h"

static void make_plan(struct box_plan *plan)
{
    static const char *const masks[] = {"kallsyms", NULL};
    const struct box_layout layout = {.state_dir = "/s",
                                      .run_dir = "/r",
                                      .templates_dir = "/t",
                                      .cgroup_parent = "carrel",
                                      .proc_masks = masks,
                                      .nofile_max = 1024};
    const struct box_spec spec = {
        .id = "x",
        .template_name = "base",
        .limits = {.memory_bytes = 1 << 30, .cpu_millis = 1000, .pids = 100}};
    assert_int_equal(box_plan_make(&layout, &spec, 3, plan, NULL), 0);
}

static size_t proc_mounts(const struct box_plan *plan)
{
    size_t count = 0;
    for (uint32_t i = 0; i < plan->inside.mount_count; i++)
        count += plan->inside.mounts[i].kind == BOX_MOUNT_BIND &&
                 strncmp(plan->inside.mounts[i].target, BOX_ROOT "/proc/", 11) == 0;
    return count;
}

static void test_names(void **state)
{
    static const char *const bad[] = {"", "seccomp,", "Seccomp", "all", "seccomp pids", ",pids"};
    unsigned bits = 0;
    assert_int_equal(box_weaken_parse("seccomp,proc-mask", &bits, NULL), 0);
    assert_int_equal(bits, BOX_WEAKEN_SECCOMP | BOX_WEAKEN_PROC_MASK);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct err err;
        bits = 77;
        assert_int_equal(box_weaken_parse(bad[i], &bits, &err), -EINVAL);
        assert_int_equal(bits, 77);
    }
}

static void test_nothing_changes_nothing(void **state)
{
    struct box_plan *before = xcalloc(1, sizeof *before), *after = xcalloc(1, sizeof *after);
    make_plan(before);
    make_plan(after);
    assert_int_equal(box_weaken_plan(0, after, NULL), 0);
    assert_memory_equal(before, after, sizeof *before);
    free(before);
    free(after);
}

static void test_each_wall(void **state)
{
    struct box_plan *plan = xcalloc(1, sizeof *plan);
    make_plan(plan);
    assert_int_equal(proc_mounts(plan), 2);
    uint32_t mounts = plan->inside.mount_count;
    assert_int_equal(box_weaken_plan(BOX_WEAKEN_PROC_MASK, plan, NULL), 0);
    assert_int_equal(proc_mounts(plan), 0);
    assert_int_equal(plan->inside.mount_count, mounts - 2);
    assert_int_equal(box_weaken_plan(BOX_WEAKEN_PIDS, plan, NULL), 0);
    assert_int_equal(plan->limits.pids, 0);
    assert_true(plan->limits.memory_bytes > 0);
    assert_int_equal(box_weaken_plan(BOX_WEAKEN_MEMORY | BOX_WEAKEN_CPU, plan, NULL), 0);
    assert_int_equal(plan->limits.memory_bytes, 0);
    assert_int_equal(plan->limits.cpu_millis, 0);
    assert_int_equal(box_weaken_plan(BOX_WEAKEN_CAPS | BOX_WEAKEN_USERNS, plan, NULL), 0);
    assert_int_equal(plan->inside.uid_base, 0);
    assert_true(plan->inside.capabilities == UINT64_MAX);
    free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_nothing_changes_nothing),
        cmocka_unit_test(test_each_wall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
