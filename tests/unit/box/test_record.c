/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "box/record.h"

static const struct box_record sample = {.boot = "0123-abc",
                                         .pid = 4711,
                                         .start = UINT64_C(123456789012),
                                         .slot = 2047,
                                         .template_name = "base",
                                         .limits = {512 << 20, 2000, 512, UINT64_MAX},
                                         .allow_internet = true,
                                         .base = "s1",
                                         .rootfs = "12.34.56"};

static void print(struct buf *text)
{
    buf_init(text, BOX_RECORD_MAX);
    assert_int_equal(box_record_print(&sample, text) < 0, 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct buf text;
    struct box_record record;
    print(&text);
    assert_int_equal(box_record_parse(buf_str(&text), &record), 0);
    assert_string_equal(record.boot, sample.boot);
    assert_int_equal(record.pid, sample.pid);
    assert_int_equal(record.start, sample.start);
    assert_int_equal(record.slot, sample.slot);
    assert_string_equal(record.template_name, sample.template_name);
    assert_memory_equal(&record.limits, &sample.limits, sizeof record.limits);
    assert_true(record.allow_internet);
    assert_string_equal(record.base, sample.base);
    assert_string_equal(record.rootfs, sample.rootfs);
    buf_done(&text);
}

/* As a launcher of the version before wrote it, whose sandboxes this one takes over. */
static void test_older(void **state)
{
    (void)state;
    struct box_record record;
    static const char text[] = "version=1\nboot=a\npid=4711\nstart=5\nslot=1\ntemplate=base\n"
                               "memory=0\ncpu-millis=0\npids=0\ndisk=0\ninternet=1\nmark=7\n";
    assert_int_equal(box_record_parse(str_from(text), &record), 0);
    assert_int_equal(record.pid, 4711);
    assert_string_equal(record.base, "");
    assert_string_equal(record.rootfs, "");
}

/* Cut anywhere, it is not a record; and the output is not touched. */
static void test_cut(void **state)
{
    (void)state;
    struct buf text;
    print(&text);
    struct str whole = buf_str(&text);
    for (size_t n = 0; n < whole.len; n++) {
        struct box_record record = {.pid = 99};
        char *copy = xmalloc(n + 1); /* exact, for the address sanitizer */
        memcpy(copy, whole.p, n);
        assert_int_equal(box_record_parse((struct str){copy, n}, &record), -EINVAL);
        assert_int_equal(record.pid, 99);
        free(copy);
    }
    buf_done(&text);
}

static void expect_bad(const char *from, const char *to)
{
    struct buf text;
    print(&text);
    char *s = xstrdup(buf_cstr(&text));
    char *at = strstr(s, from);
    assert_non_null(at);
    char *changed = xasprintf("%.*s%s%s", (int)(at - s), s, to, at + strlen(from));
    struct box_record record;
    if (box_record_parse(str_from(changed), &record) != -EINVAL)
        fail_msg("accepted:\n%s", changed);
    free(changed);
    free(s);
    buf_done(&text);
}

static void test_hostile(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"version=2", "version=3"},
        {"version=2", "version=1"},
        {"version=2", "version=0"},
        {"base=s1", "base=../s1"},
        {"base=s1\n", ""},
        {"rootfs=12.34.56\n", ""},
        {"pid=4711", "pid=1"},
        {"pid=4711", "pid=0"},
        {"pid=4711", "pid=-5"},
        {"pid=4711", "pid=4294967297"},
        {"pid=4711", "pid= 4711"},
        {"pid=4711", "pid="},
        {"pid=4711\n", ""},
        {"pid=4711\n", "pid=4711\npid=4712\n"},
        {"start=123456789012", "start=123456789012345678901234567890"},
        {"slot=2047", "slot=2048"},
        {"template=base", "template=../base"},
        {"template=base", "template="},
        {"boot=0123-abc", "boot=0123456789012345678901234567890123456789012345"},
        {"internet=1", "internet=2"},
        {"internet=1", "internet=1\nother=1"},
        {"internet=1", "internet"},
        {"internet=1", "internet=1\n\n"},
        {"cpu-millis=2000", "cpu-millis=4294967296"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect_bad(cases[i].from, cases[i].to);
    struct box_record record;
    assert_int_equal(box_record_parse(STR("boot=a\0b\n"), &record), -EINVAL);
    char big[BOX_RECORD_MAX + 2];
    memset(big, '\n', sizeof big);
    assert_int_equal(box_record_parse((struct str){big, sizeof big}, &record), -EINVAL);
}

static void test_stat(void **state)
{
    (void)state;
    uint64_t start;
    /* Names may hold blanks, parentheses and newlines. */
    assert_int_equal(
        box_record_parse_stat(STR("12 (a) b) (c\n) S 1 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 "
                                  "21 777 23 24\n"),
                              &start),
        0);
    assert_int_equal(start, 777);
    assert_int_equal(box_record_parse_stat(STR("12 (a) S 1 2 3"), &start), -EINVAL);
    assert_int_equal(box_record_parse_stat(STR("12 a S"), &start), -EINVAL);
    assert_int_equal(box_record_parse_stat(STR(""), &start), -EINVAL);
    uint64_t again;
    assert_int_equal(box_record_start_time(getpid(), &start), 0);
    assert_int_equal(box_record_start_time(getpid(), &again), 0);
    assert_true(start > 0 && start == again);
    char boot[BOX_BOOT_ID_SIZE];
    assert_int_equal(box_record_boot_id(boot), 0);
    assert_int_equal(strlen(boot), 36);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_older),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_stat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
