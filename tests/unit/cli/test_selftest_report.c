/* SPDX-License-Identifier: Apache-2.0 */
/* The selftest's report: lines that a hostile sandbox may have written, verdicts, the sum. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/selftest_report.h"

#define LISTED "{\"name\":\"mount\",\"group\":\"calls\",\"row\":\"6\",\"what\":\"no mounts\"}"
#define SAID(verdict, evidence)                                                     \
    "{\"name\":\"mount\",\"group\":\"calls\",\"row\":\"6\",\"what\":\"no mounts\"," \
    "\"verdict\":\"" verdict "\",\"evidence\":\"" evidence "\"}"

static int take(struct selftest_report *report, enum selftest_view view, const char *line)
{
    return selftest_report_line(report, view, str_from(line));
}

static enum selftest_verdict verdict(const struct selftest_report *report, enum selftest_view view)
{
    return selftest_report_cell(report, "mount", view)->verdict;
}

static void test_what_did_not_report_is_no_success(void **state)
{
    struct selftest_report report = {0};
    assert_int_equal(take(&report, SELFTEST_USER, LISTED), 0);
    assert_int_equal(verdict(&report, SELFTEST_USER), SELFTEST_UNKNOWN);
    assert_int_equal(verdict(&report, SELFTEST_ROOT), SELFTEST_UNKNOWN);
    assert_int_equal(verdict(&report, SELFTEST_OUTSIDE), SELFTEST_ABSENT);
    assert_int_equal(take(&report, SELFTEST_USER, SAID("held", "EPERM")), 0);
    assert_false(selftest_report_good(&report));
    assert_int_equal(take(&report, SELFTEST_ROOT, SAID("held", "EPERM")), 0);
    assert_true(selftest_report_good(&report));
    selftest_report_done(&report);
}

static void test_one_open_view_decides(void **state)
{
    struct selftest_report report = {0};
    take(&report, SELFTEST_USER, LISTED);
    take(&report, SELFTEST_USER, SAID("open", "allowed"));
    take(&report, SELFTEST_ROOT, SAID("held", "EPERM"));
    assert_int_equal(selftest_report_sum(&report).open, 1);
    assert_int_equal(selftest_report_sum(&report).held, 0);
    assert_false(selftest_report_good(&report));
    selftest_report_done(&report);
}

static void test_an_empty_report_is_not_good(void **state)
{
    struct selftest_report report = {0};
    assert_false(selftest_report_good(&report));
    take(&report, SELFTEST_USER, LISTED);
    selftest_report_skip(&report, "calls");
    assert_int_equal(verdict(&report, SELFTEST_ROOT), SELFTEST_SKIPPED);
    assert_false(selftest_report_good(&report));
    selftest_report_done(&report);
}

static void test_skipped_is_no_failure(void **state)
{
    struct selftest_report report = {0};
    take(&report, SELFTEST_USER, LISTED);
    take(&report, SELFTEST_USER, SAID("held", "EPERM"));
    take(&report, SELFTEST_ROOT, SAID("skipped", "not for root"));
    assert_true(selftest_report_good(&report));
    selftest_report_done(&report);
}

static void test_lines_of_a_hostile_sandbox(void **state)
{
    static const char *const bad[] = {
        "",
        "Segmentation fault",
        "[]",
        "\"held\"",
        "{\"name\":\"mount\"",
        "{\"name\":7,\"group\":\"calls\",\"row\":\"6\",\"what\":\"x\",\"verdict\":\"held\"}",
        /* a row of its own making */
        "{\"name\":\"all-is-well\",\"group\":\"calls\",\"row\":\"6\",\"what\":\"x\","
        "\"verdict\":\"held\",\"evidence\":\"\"}",
        "{\"name\":\"../mount\",\"group\":\"calls\",\"row\":\"6\",\"what\":\"x\"}",
        SAID("HELD", "x"),
        SAID("", "x"),
        /* twice the same member */
        "{\"name\":\"mount\",\"group\":\"calls\",\"row\":\"6\",\"what\":\"x\",\"verdict\":\"open\","
        "\"verdict\":\"held\",\"evidence\":\"\"}",
    };
    struct selftest_report report = {0};
    take(&report, SELFTEST_USER, LISTED);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(take(&report, SELFTEST_USER, bad[i]), -EINVAL);
    assert_int_equal(report.count, 1);
    assert_int_equal(verdict(&report, SELFTEST_USER), SELFTEST_UNKNOWN);
    char *huge = xmalloc(10000);
    memset(huge, ' ', 10000);
    assert_int_equal(selftest_report_line(&report, SELFTEST_USER, (struct str){huge, 10000}),
                     -EINVAL);
    free(huge);
    selftest_report_done(&report);
}

static void test_evidence_cannot_talk_to_a_terminal(void **state)
{
    struct selftest_report report = {0};
    take(&report, SELFTEST_USER, LISTED);
    assert_int_equal(take(&report, SELFTEST_USER, SAID("held", "a\\u001b[2Jb\\tc\\u00e9")), 0);
    assert_string_equal(selftest_report_cell(&report, "mount", SELFTEST_USER)->evidence,
                        "a?[2Jb c??");
    selftest_report_done(&report);
}

static void test_views_from_outside_make_rows(void **state)
{
    struct selftest_report report = {0};
    selftest_report_set(&report, SELFTEST_OUTSIDE, "outside-ids", "7", "nobody", SELFTEST_HELD,
                        "%d processes", 2);
    assert_true(selftest_report_good(&report));
    selftest_report_set(&report, SELFTEST_OUTSIDE, "outside-ids", "7", "nobody", SELFTEST_OPEN,
                        "uid 0");
    assert_int_equal(report.count, 1);
    assert_false(selftest_report_good(&report));
    json_t *json = selftest_report_json(&report);
    assert_true(json_is_false(json_object_get(json, "held")));
    json_t *row = json_array_get(json_object_get(json, "properties"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "verdict")), "open");
    assert_null(json_object_get(row, "user"));
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(row, "outside"), "evidence")), "uid 0");
    json_decref(json);
    selftest_report_done(&report);
}

static void test_the_table_names_what_is_open(void **state)
{
    struct selftest_report report = {0};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    take(&report, SELFTEST_USER, LISTED);
    take(&report, SELFTEST_USER, SAID("open", "mount ENODEV"));
    selftest_report_print(&report, out);
    fclose(out);
    assert_non_null(strstr(text, "mount: no mounts (user) OPEN: mount ENODEV"));
    assert_non_null(strstr(text, "mount: no mounts (root) unknown: did not report"));
    assert_non_null(strstr(text, "0 held, 1 open, 0 unknown, 0 skipped"));
    free(text);
    selftest_report_done(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_did_not_report_is_no_success),
        cmocka_unit_test(test_one_open_view_decides),
        cmocka_unit_test(test_an_empty_report_is_not_good),
        cmocka_unit_test(test_skipped_is_no_failure),
        cmocka_unit_test(test_lines_of_a_hostile_sandbox),
        cmocka_unit_test(test_evidence_cannot_talk_to_a_terminal),
        cmocka_unit_test(test_views_from_outside_make_rows),
        cmocka_unit_test(test_the_table_names_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
