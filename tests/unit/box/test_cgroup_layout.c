/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/mem.h"
#include "box/ns/cgroup.h"

static const char hybrid[] =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:1 master:2 - cgroup2 cgroup2 rw\n";

static const struct cgroup_hierarchy *find(const struct cgroup_layout *l, const char *mount)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->hierarchies[i].mount, mount) == 0)
            return &l->hierarchies[i];
    return NULL;
}

/* Each controller is used exactly once. */
static unsigned all(const struct cgroup_layout *l)
{
    unsigned seen = 0;
    for (size_t i = 0; i < l->count; i++) {
        assert_int_equal(seen & l->hierarchies[i].controllers, 0);
        seen |= l->hierarchies[i].controllers;
    }
    return seen;
}

static void test_hybrid(void **state)
{
    (void)state;
    struct cgroup_layout l;
    cgroup_layout_parse(str_from(hybrid), STR("hugetlb pids\n"), &l);
    assert_int_equal(l.count, 4);
    assert_int_equal(all(&l), CGROUP_ALL);
    assert_int_equal(find(&l, "/sys/fs/cgroup/cpu,cpuacct")->controllers,
                     CGROUP_CPU | CGROUP_CPUACCT);
    const struct cgroup_hierarchy *v2 = find(&l, "/sys/fs/cgroup/unified");
    assert_true(v2->v2);
    assert_int_equal(v2->controllers, CGROUP_PIDS);
}

static void test_unified(void **state)
{
    (void)state;
    struct cgroup_layout l;
    cgroup_layout_parse(
        STR("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"),
        STR("cpuset cpu io memory hugetlb pids rdma"), &l);
    assert_int_equal(l.count, 1);
    assert_true(l.hierarchies[0].v2);
    assert_int_equal(all(&l), CGROUP_ALL);
}

/* All on v1, as on hosts with a v2 tree that carries nothing: then v2 is left alone. */
static void test_v1(void **state)
{
    (void)state;
    struct cgroup_layout l;
    cgroup_layout_parse(STR("1 0 0:1 / /c/cpu rw - cgroup c rw,cpu\n"
                            "1 0 0:1 / /c/acct rw - cgroup c rw,cpuacct\n"
                            "1 0 0:1 / /c/mem rw - cgroup c rw,memory\n"
                            "1 0 0:1 / /again/mem rw - cgroup c rw,memory\n"
                            "1 0 0:1 / /c/pids rw - cgroup c rw,pids\n"
                            "1 0 0:1 / /c/fr rw - cgroup c rw,freezer\n"
                            "1 0 0:1 / /c/u rw - cgroup2 c rw\n"),
                        STR("hugetlb"), &l);
    assert_int_equal(l.count, 5);
    assert_int_equal(all(&l), CGROUP_ALL);
    assert_null(find(&l, "/c/u"));
    assert_null(find(&l, "/again/mem"));
}

static void test_odd_text(void **state)
{
    (void)state;
    struct cgroup_layout l;
    cgroup_layout_parse(STR("1 0 0:1 / /with\\040blank rw - cgroup c rw,memory\n"), STR(""), &l);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.hierarchies[0].mount, "/with blank");
    static const char *const broken[] = {"",
                                         "\n\n",
                                         "1 2 3",
                                         "1 0 0:1 / /m rw",
                                         "1 0 0:1 / /m rw -",
                                         "1 0 0:1 / /m rw - cgroup",
                                         "1 0 0:1 / /m rw - cgroup c",
                                         "1 0 0:1 /  rw - cgroup2 c rw",
                                         "- - - - - - - -"};
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        cgroup_layout_parse(str_from(broken[i]), STR(""), &l);
        assert_int_equal(l.count, 0);
    }
    cgroup_layout_parse(STR("1 0 0:1 / /cut\\04 rw - cgroup c rw,memory\n"), STR(""), &l);
    char *big = xmalloc(600);
    int n = snprintf(big, 600, "1 0 0:1 / /%0500d rw - cgroup c rw,memory\n", 0);
    cgroup_layout_parse((struct str){big, (size_t)n}, STR(""), &l);
    assert_int_equal(l.count, 0);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hybrid),
        cmocka_unit_test(test_unified),
        cmocka_unit_test(test_v1),
        cmocka_unit_test(test_odd_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
