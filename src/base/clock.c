/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and RFC 3339 text. */
#include "base/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * CLOCK_S + t.tv_nsec;
}

int64_t clock_mono_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

void clock_format(int64_t wall_ns, int digits, char out[CLOCK_TEXT_SIZE])
{
    int64_t seconds = wall_ns / CLOCK_S, rest = wall_ns % CLOCK_S;
    if (rest < 0) {
        rest += CLOCK_S;
        seconds--;
    }
    time_t t = (time_t)seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t n = strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    if (digits > 0) {
        char fraction[10];
        snprintf(fraction, sizeof fraction, "%09lld", (long long)rest);
        n += (size_t)snprintf(out + n, CLOCK_TEXT_SIZE - n, ".%.*s", digits, fraction);
    }
    snprintf(out + n, CLOCK_TEXT_SIZE - n, "Z");
}

/* Takes exactly `digits` digits from the front of s. */
static bool take_number(struct str *s, size_t digits, int *ret)
{
    uint64_t value;
    if (s->len < digits || str_to_u64((struct str){s->p, digits}, 999999, &value) < 0)
        return false;
    *s = (struct str){s->p + digits, s->len - digits};
    *ret = (int)value;
    return true;
}

static bool take_char(struct str *s, const char *any_of)
{
    if (s->len == 0 || !strchr(any_of, s->p[0]) || s->p[0] == '\0')
        return false;
    s->p++;
    s->len--;
    return true;
}

static int64_t take_fraction(struct str *s)
{
    int64_t value = 0, unit = CLOCK_S / 10;
    for (; s->len && s->p[0] >= '0' && s->p[0] <= '9'; s->p++, s->len--) {
        value += (s->p[0] - '0') * unit;
        unit /= 10;
    }
    return value;
}

int clock_parse(struct str s, int64_t *ret_wall_ns)
{
    struct tm tm = {0};
    int64_t fraction = 0, offset = 0;
    int hours, minutes;
    if (!take_number(&s, 4, &tm.tm_year) || !take_char(&s, "-") || !take_number(&s, 2, &tm.tm_mon) ||
        !take_char(&s, "-") || !take_number(&s, 2, &tm.tm_mday) || !take_char(&s, "Tt ") ||
        !take_number(&s, 2, &tm.tm_hour) || !take_char(&s, ":") || !take_number(&s, 2, &tm.tm_min) ||
        !take_char(&s, ":") || !take_number(&s, 2, &tm.tm_sec))
        return -EINVAL;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return -EINVAL;
    if (take_char(&s, "."))
        fraction = take_fraction(&s);
    if (!take_char(&s, "Zz")) {
        int sign = s.len && s.p[0] == '-' ? -1 : 1;
        if (!take_char(&s, "+-") || !take_number(&s, 2, &hours) || !take_char(&s, ":") ||
            !take_number(&s, 2, &minutes))
            return -EINVAL;
        offset = (int64_t)sign * (hours * 3600 + minutes * 60);
    }
    if (s.len)
        return -EINVAL;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_wall_ns = ((int64_t)timegm(&tm) - offset) * CLOCK_S + fraction;
    return 0;
}
