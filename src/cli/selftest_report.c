/* SPDX-License-Identifier: Apache-2.0 */
/* Rows, verdicts, table and JSON of the selftest. */
#include "cli/selftest_report.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/mem.h"

enum { EVIDENCE_MAX = 400, NAME_MAX_LENGTH = 40, LINE_MAX_BYTES = 8192, ROWS_MAX = 500 };

static const char *const verdict_names[] = {[SELFTEST_ABSENT] = "-",
                                            [SELFTEST_HELD] = "held",
                                            [SELFTEST_OPEN] = "OPEN",
                                            [SELFTEST_UNKNOWN] = "unknown",
                                            [SELFTEST_SKIPPED] = "skipped"};
static const char *const verdict_words[] = {[SELFTEST_ABSENT] = "",
                                            [SELFTEST_HELD] = "held",
                                            [SELFTEST_OPEN] = "open",
                                            [SELFTEST_UNKNOWN] = "unknown",
                                            [SELFTEST_SKIPPED] = "skipped"};
static const char *const view_names[] = {"user", "root", "outside"};

void selftest_report_done(struct selftest_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        struct selftest_row *row = &report->rows[i];
        free(row->name);
        free(row->group);
        free(row->row);
        free(row->what);
        for (size_t v = 0; v < SELFTEST_VIEWS; v++)
            free(row->cells[v].evidence);
    }
    free(report->rows);
    *report = (struct selftest_report){0};
}

static struct selftest_row *find(const struct selftest_report *report, const char *name)
{
    for (size_t i = 0; i < report->count; i++)
        if (strcmp(report->rows[i].name, name) == 0)
            return &report->rows[i];
    return NULL;
}

static struct selftest_row *need(struct selftest_report *report, const char *name,
                                 const char *group, const char *number, const char *what)
{
    struct selftest_row *row = find(report, name);
    if (row || report->count == ROWS_MAX)
        return row;
    report->rows = xrealloc(report->rows, (report->count + 1) * sizeof *report->rows);
    row = &report->rows[report->count++];
    *row = (struct selftest_row){.name = xstrdup(name),
                                 .group = xstrdup(group),
                                 .row = xstrdup(number),
                                 .what = xstrdup(what)};
    return row;
}

/* The evidence may hold anything; a terminal must not be told what to do by it. */
static void set_cell(struct selftest_cell *cell, enum selftest_verdict verdict, const char *text)
{
    cell->verdict = verdict;
    free(cell->evidence);
    cell->evidence = xstrndup(text, strnlen(text, EVIDENCE_MAX));
    for (char *p = cell->evidence; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = *p == '\t' ? ' ' : '?';
}

void selftest_report_set(struct selftest_report *report, enum selftest_view view, const char *name,
                         const char *row_number, const char *what, enum selftest_verdict verdict,
                         const char *fmt, ...)
{
    char text[EVIDENCE_MAX + 1];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct selftest_row *row = need(report, name, "outside", row_number, what);
    if (row)
        set_cell(&row->cells[view], verdict, text);
}

void selftest_report_skip(struct selftest_report *report, const char *group)
{
    for (size_t i = 0; i < report->count; i++) {
        struct selftest_row *row = &report->rows[i];
        for (size_t v = SELFTEST_USER; v <= SELFTEST_ROOT && strcmp(row->group, group) == 0; v++)
            set_cell(&row->cells[v], SELFTEST_SKIPPED, "not asked for");
    }
}

const struct selftest_cell *selftest_report_cell(const struct selftest_report *report,
                                                 const char *name, enum selftest_view view)
{
    const struct selftest_row *row = find(report, name);
    return row ? &row->cells[view] : NULL;
}

static enum selftest_verdict parse_verdict(const char *text)
{
    for (size_t i = SELFTEST_HELD; i < ARRAY_SIZE(verdict_words); i++)
        if (text && strcmp(text, verdict_words[i]) == 0)
            return (enum selftest_verdict)i;
    return SELFTEST_ABSENT;
}

static bool plain(const char *text)
{
    return text && *text && strlen(text) <= NAME_MAX_LENGTH &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

static const char *member(json_t *line, const char *name)
{
    return json_string_value(json_object_get(line, name));
}

static int take_line(struct selftest_report *report, enum selftest_view view, json_t *line)
{
    const char *name = member(line, "name"), *group = member(line, "group");
    const char *number = member(line, "row"), *what = member(line, "what");
    const char *verdict = member(line, "verdict"), *evidence = member(line, "evidence");
    if (!plain(name) || !plain(group) || !plain(number) || !what)
        return -EINVAL;
    struct selftest_row *row = find(report, name);
    if (verdict) {
        /* Rows come from the list that this program holds, not from what a sandbox says. */
        enum selftest_verdict v = parse_verdict(verdict);
        if (!row || v == SELFTEST_ABSENT || !evidence)
            return -EINVAL;
        set_cell(&row->cells[view], v, evidence);
        return 0;
    }
    row = need(report, name, group, number, what);
    if (!row)
        return -EINVAL;
    set_cell(&row->cells[SELFTEST_USER], SELFTEST_UNKNOWN, "did not report");
    set_cell(&row->cells[SELFTEST_ROOT], SELFTEST_UNKNOWN, "did not report");
    return 0;
}

int selftest_report_line(struct selftest_report *report, enum selftest_view view, struct str text)
{
    if (text.len > LINE_MAX_BYTES)
        return -EINVAL;
    json_t *line = json_loadb(text.p, text.len, JSON_REJECT_DUPLICATES, NULL);
    int rc = json_is_object(line) ? take_line(report, view, line) : -EINVAL;
    json_decref(line);
    return rc;
}

/* ---- the whole ---- */

/* The cell that decides: the worst one. */
static const struct selftest_cell *worst(const struct selftest_row *row)
{
    static const int rank[] = {[SELFTEST_ABSENT] = 0,
                               [SELFTEST_SKIPPED] = 1,
                               [SELFTEST_HELD] = 2,
                               [SELFTEST_UNKNOWN] = 3,
                               [SELFTEST_OPEN] = 4};
    const struct selftest_cell *found = &row->cells[0];
    for (size_t v = 1; v < SELFTEST_VIEWS; v++)
        if (rank[row->cells[v].verdict] > rank[found->verdict])
            found = &row->cells[v];
    return found;
}

struct selftest_summary selftest_report_sum(const struct selftest_report *report)
{
    struct selftest_summary sum = {0};
    for (size_t i = 0; i < report->count; i++) {
        switch (worst(&report->rows[i])->verdict) {
        case SELFTEST_HELD:
            sum.held++;
            break;
        case SELFTEST_OPEN:
            sum.open++;
            break;
        case SELFTEST_UNKNOWN:
            sum.unknown++;
            break;
        case SELFTEST_SKIPPED:
        case SELFTEST_ABSENT:
            sum.skipped++;
            break;
        }
    }
    return sum;
}

bool selftest_report_good(const struct selftest_report *report)
{
    struct selftest_summary sum = selftest_report_sum(report);
    return sum.held > 0 && sum.open == 0 && sum.unknown == 0;
}

static void print_bad(const struct selftest_report *report, FILE *out)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct selftest_row *row = &report->rows[i];
        for (size_t v = 0; v < SELFTEST_VIEWS; v++) {
            const struct selftest_cell *cell = &row->cells[v];
            if (cell->verdict == SELFTEST_OPEN || cell->verdict == SELFTEST_UNKNOWN)
                fprintf(out, "%s: %s (%s) %s: %s\n", row->name, row->what, view_names[v],
                        verdict_names[cell->verdict], cell->evidence);
        }
    }
}

void selftest_report_print(const struct selftest_report *report, FILE *out)
{
    enum { EVIDENCE_SHOWN = 90 };
    fprintf(out, "%-22s %-4s %-8s %-8s %-8s %s\n", "property", "row", "as user", "as root",
            "outside", "evidence");
    for (size_t i = 0; i < report->count; i++) {
        const struct selftest_row *row = &report->rows[i];
        const struct selftest_cell *cell = worst(row);
        const char *evidence = cell->evidence ? cell->evidence : "";
        fprintf(out, "%-22s %-4s %-8s %-8s %-8s %.*s%s\n", row->name, row->row,
                verdict_names[row->cells[SELFTEST_USER].verdict],
                verdict_names[row->cells[SELFTEST_ROOT].verdict],
                verdict_names[row->cells[SELFTEST_OUTSIDE].verdict], EVIDENCE_SHOWN, evidence,
                strlen(evidence) > EVIDENCE_SHOWN ? "…" : "");
    }
    struct selftest_summary sum = selftest_report_sum(report);
    if (!selftest_report_good(report))
        fprintf(out, "\nwhat does not hold:\n");
    print_bad(report, out);
    fprintf(out, "\n%zu held, %zu open, %zu unknown, %zu skipped: %s\n", sum.held, sum.open,
            sum.unknown, sum.skipped,
            selftest_report_good(report) ? "the isolation holds" : "the isolation does NOT hold");
}

json_t *selftest_report_json(const struct selftest_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->count; i++) {
        const struct selftest_row *row = &report->rows[i];
        json_t *item =
            json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", row->name, "group", row->group, "row",
                      row->row, "what", row->what, "verdict", verdict_words[worst(row)->verdict]);
        for (size_t v = 0; v < SELFTEST_VIEWS; v++) {
            const struct selftest_cell *cell = &row->cells[v];
            if (cell->verdict != SELFTEST_ABSENT)
                json_object_set_new(item, view_names[v],
                                    json_pack("{s:s,s:s}", "verdict", verdict_words[cell->verdict],
                                              "evidence", cell->evidence));
        }
        json_array_append_new(list, item);
    }
    struct selftest_summary sum = selftest_report_sum(report);
    return json_pack("{s:b,s:{s:i,s:i,s:i,s:i},s:o}", "held", selftest_report_good(report),
                     "summary", "held", (int)sum.held, "open", (int)sum.open, "unknown",
                     (int)sum.unknown, "skipped", (int)sum.skipped, "properties", list);
}
