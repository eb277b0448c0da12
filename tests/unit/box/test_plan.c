/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/mount.h>

#include "base/mem.h"
#include "box/ns/caps.h"
#include "box/plan.h"

static const char *const masks[] = {"kallsyms", "keys", NULL};
static const struct box_layout layout = {.state_dir = "/var/lib/carrel",
                                         .disk_name = "xfs quota",
                                         .run_dir = "/run/carrel",
                                         .templates_dir = "/t",
                                         .cgroup_parent = "carrel",
                                         .instance = 2,
                                         .proc_masks = masks,
                                         .nofile_max = 524288};

static void test_ids(void **state)
{
    (void)state;
    assert_true(box_id_valid("a") && box_id_valid("i0123456789abcdefghijklmnopqrst"));
    assert_true(box_id_valid("1234567890123456789012345678901"));
    assert_false(box_id_valid("12345678901234567890123456789012"));
    assert_false(box_id_valid("") || box_id_valid("A") || box_id_valid("a-b") ||
                 box_id_valid(".") || box_id_valid("a/b") || box_id_valid("a\n") ||
                 box_id_valid("\xc3\xa9"));
    assert_true(box_template_valid("base") && box_template_valid("a.b_c-1"));
    assert_false(box_template_valid("") || box_template_valid(".a") || box_template_valid("..") ||
                 box_template_valid("a/b") || box_template_valid("A"));
}

/* No two slots of any two instances share an id, and all fit below 2^31. */
static void test_uid_ranges(void **state)
{
    (void)state;
    uint64_t next = BOX_UID_FIRST;
    for (unsigned n = 0; n < BOX_INSTANCES; n++)
        for (unsigned s = 0; s < BOX_SLOTS; s++, next += BOX_UIDS)
            assert_int_equal(box_uid_base(n, s), next);
    assert_true(next <= UINT64_C(0x80000000));
}

static void make(struct box_plan *plan)
{
    const struct box_spec spec = {.id = "i1",
                                  .template_name = "base",
                                  .limits = {512 << 20, 2000, 512, 0},
                                  .allow_internet = true};
    struct err err;
    assert_int_equal(box_plan_make(&layout, &spec, 5, plan, &err), 0);
}

static void test_make(void **state)
{
    (void)state;
    struct box_plan *plan = xmalloc(sizeof *plan);
    make(plan);
    assert_string_equal(plan->template_dir, "/t/base/rootfs");
    assert_string_equal(plan->layer_dir, "/var/lib/carrel/layers/base");
    assert_string_equal(plan->sandbox_dir, "/var/lib/carrel/sandboxes/i1");
    assert_string_equal(plan->files_dir, "/var/lib/carrel/disk/files/i1");
    assert_string_equal(plan->run_dir, "/run/carrel/i1");
    assert_string_equal(plan->cgroup, "carrel-2/i1");
    const struct box_inside *in = &plan->inside;
    assert_int_equal(in->uid_base, box_uid_base(2, 5));
    assert_int_equal(in->nofile_hard, 524288);
    assert_int_equal(in->nofile_soft, 65536);
    assert_string_equal(in->hostname, "i1");
    free(plan);
}

/* The policy, as far as the plan shows it. */
static void test_policy(void **state)
{
    (void)state;
    struct box_plan *plan = xmalloc(sizeof *plan);
    make(plan);
    const struct box_inside *in = &plan->inside;
    unsigned masked = 0;
    for (uint32_t i = 0; i < in->mount_count; i++) {
        const struct box_mount *m = &in->mounts[i];
        assert_true(m->target[0] == '/' && !strstr(m->target, ".."));
        if (m->kind == BOX_MOUNT_BIND)
            assert_true(m->flags & MS_RDONLY);
        if (m->kind == BOX_MOUNT_NEW)
            assert_true(m->flags & (strcmp(m->type, "devpts") ? MS_NODEV : MS_NOSUID));
        if (strcmp(m->type, "sysfs") == 0 || strcmp(m->type, "cgroup2") == 0)
            fail();
        masked += strcmp(m->source, "/dev/null") == 0;
    }
    assert_int_equal(masked, 2);
    assert_false(in->capabilities & CAPS_BIT(CAP_SYS_ADMIN));
    assert_false(in->capabilities & CAPS_BIT(CAP_NET_RAW));
    assert_false(in->capabilities & CAPS_BIT(CAP_NET_ADMIN));
    assert_true(in->capabilities & CAPS_BIT(CAP_SETUID));
    free(plan);
}

static void test_print(void **state)
{
    (void)state;
    struct box_plan *plan = xmalloc(sizeof *plan);
    make(plan);
    struct buf text;
    buf_init(&text, 16384);
    assert_int_equal(box_plan_print(plan, &text), 0);
    const char *s = buf_cstr(&text);
    static const char *const lines[] = {
        "id i1\n",
        "template base\n",
        "instance 2\n",
        "slot 5\n",
        "uids 805634048+65536\n",
        "lower /t/base/rootfs\n",
        "cgroup carrel-2/i1\n",
        "memory 536870912\n",
        "internet yes\n",
        "mount attach template /lower/template\n",
        "mount bind /dev/null /root/proc/kallsyms ro nosuid noexec\n",
        "mount new overlay /root nodev lowerdir=/lower/host:/lower/template,"};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        if (!strstr(s, lines[i]))
            fail_msg("no line \"%s\" in\n%s", lines[i], s);
    /* A ceiling that is too low is told, not overrun. */
    struct buf small;
    buf_init(&small, 64);
    assert_true(box_plan_print(plan, &small) < 0);
    buf_done(&small);
    buf_done(&text);
    free(plan);
}

static void test_bad_specs(void **state)
{
    (void)state;
    struct box_plan *plan = xmalloc(sizeof *plan);
    struct err err;
    struct box_spec spec = {.id = "../x", .template_name = "base"};
    assert_true(box_plan_make(&layout, &spec, 0, plan, &err) < 0);
    assert_int_equal(err.code, ERR_INVALID);
    spec = (struct box_spec){.id = "x", .template_name = "../base"};
    assert_true(box_plan_make(&layout, &spec, 0, plan, &err) < 0);
    char dir[BOX_PATH_MAX + 10];
    memset(dir, 'd', sizeof dir - 1);
    dir[0] = '/';
    dir[sizeof dir - 1] = '\0';
    struct box_layout longer = layout;
    longer.state_dir = dir;
    spec = (struct box_spec){.id = "x", .template_name = "base"};
    assert_true(box_plan_make(&longer, &spec, 0, plan, &err) < 0);
    assert_int_equal(err.code, ERR_INVALID);
    free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),   cmocka_unit_test(test_uid_ranges),
        cmocka_unit_test(test_make),  cmocka_unit_test(test_policy),
        cmocka_unit_test(test_print), cmocka_unit_test(test_bad_specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
