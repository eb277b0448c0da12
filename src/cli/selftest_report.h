/* SPDX-License-Identifier: Apache-2.0 */
/* What `carrel selftest` found: one row a property, with a verdict and evidence for each view on it
 * (as user inside, as root inside, from outside), and the verdict on the whole. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/str.h"

enum selftest_verdict {
    SELFTEST_ABSENT, /* this view does not look at it */
    SELFTEST_HELD,
    SELFTEST_OPEN,
    SELFTEST_UNKNOWN, /* could not be found out: counts as a failure */
    SELFTEST_SKIPPED, /* there was nothing to find out: does not */
};

enum selftest_view { SELFTEST_USER, SELFTEST_ROOT, SELFTEST_OUTSIDE, SELFTEST_VIEWS };

struct selftest_cell {
    enum selftest_verdict verdict;
    char *evidence;
};

struct selftest_row {
    char *name, *group, *row, *what;
    struct selftest_cell cells[SELFTEST_VIEWS];
};

struct selftest_report {
    struct selftest_row *rows;
    size_t count;
};

void selftest_report_done(struct selftest_report *report);

/* Sets one cell; the row is made if it is new, and then what and row_number are kept. */
void selftest_report_set(struct selftest_report *report, enum selftest_view view, const char *name,
                         const char *row_number, const char *what, enum selftest_verdict verdict,
                         const char *fmt, ...) __attribute__((format(printf, 7, 8)));
/* Marks both inside views of all rows of a group as not asked for. */
void selftest_report_skip(struct selftest_report *report, const char *group);
const struct selftest_cell *selftest_report_cell(const struct selftest_report *report,
                                                 const char *name, enum selftest_view view);

/* One line of the probe program. The evidence comes from inside a sandbox, so that nothing in it is
 * trusted: what does not print is replaced, lengths are cut. A line without a verdict (--list)
 * makes the row and marks it as not reported in both inside views. 0 or -EINVAL. */
int selftest_report_line(struct selftest_report *report, enum selftest_view view, struct str line);

struct selftest_summary {
    size_t held, open, unknown, skipped; /* rows, by their worst cell */
};
struct selftest_summary selftest_report_sum(const struct selftest_report *report);
/* No row is open or unknown, and at least one is held. */
bool selftest_report_good(const struct selftest_report *report);

void selftest_report_print(const struct selftest_report *report, FILE *out);
/* {"held":bool, "summary":{...}, "properties":[...]}; the caller's. */
json_t *selftest_report_json(const struct selftest_report *report);
