/* SPDX-License-Identifier: Apache-2.0 */
/* Logging to stderr, one write(2) a line so that lines of several processes never mix. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

static const char *program_name = "carrel";
static enum log_level least_level = LOG_INFO;

void log_setup(const char *program, enum log_level least)
{
    program_name = program;
    least_level = least;
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    if (level < least_level)
        return;
    int saved = errno;
    char line[2048], now[CLOCK_TEXT_SIZE];
    clock_format(clock_wall_ns(), 3, now);
    int n = snprintf(line, sizeof line - 1, "%s %s %s: %s ", now, names[level], program_name, event);
    if (n < 0 || (size_t)n >= sizeof line - 1)
        n = (int)sizeof line - 2;
    va_list args;
    va_start(args, fmt);
    int more = vsnprintf(line + n, sizeof line - 1 - (size_t)n, fmt, args);
    va_end(args);
    size_t len = (size_t)n + (more > 0 ? (size_t)more : 0);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    for (size_t i = 0; i < len; i++) /* hostile text must not forge lines */
        if ((unsigned char)line[i] < 0x20)
            line[i] = '?';
    line[len] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, len + 1);
    (void)ignored;
    errno = saved;
}
