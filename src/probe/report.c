/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting what a probe saw into a verdict and a line of evidence. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "probe/probe.h"

const char *probe_errno(int os)
{
    const char *name = strerrorname_np(os);
    return name ? name : "unknown errno";
}

void probe_say(struct probe_report *out, enum probe_verdict verdict, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(out->evidence, sizeof out->evidence, fmt, args);
    va_end(args);
    out->verdict = verdict;
}

/* What does not fit is left out: the verdict is what counts. */
static void append(char *text, size_t size, const char *more)
{
    size_t n = strlen(text);
    snprintf(text + n, size - n, "%s%s", n ? ", " : "", more);
}

void probe_note(struct probe_report *out, bool closed, const char *fmt, ...)
{
    char text[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    append(out->evidence, sizeof out->evidence, text);
    if (!closed) {
        append(out->open, sizeof out->open, text);
        out->verdict = PROBE_OPEN;
    }
}

bool probe_tried(struct probe_report *out, const char *what, long result, const int *also)
{
    int os = result < 0 ? errno : 0;
    bool closed = os == EPERM || os == EACCES || os == ENOSYS;
    for (; also && *also; also++)
        closed = closed || os == *also;
    probe_note(out, closed, "%s %s", what, os ? probe_errno(os) : "allowed");
    return closed;
}
