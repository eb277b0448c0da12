/* SPDX-License-Identifier: Apache-2.0 */
/* Dates and conditions. */
#include "http/conditional.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"

static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void http_date_format(int64_t seconds, char out[HTTP_DATE_SIZE])
{
    struct tm tm;
    time_t t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
        t = 0; /* a year that four digits cannot say */
        gmtime_r(&t, &tm);
    }
    snprintf(out, HTTP_DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static int number(const char *p, size_t digits)
{
    int value = 0;
    for (size_t i = 0; i < digits; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        value = value * 10 + (p[i] - '0');
    }
    return value;
}

int http_date_parse(struct str text, int64_t *ret_seconds)
{
    /*           0123456789012345678901234567 8 */
    static const char form[] = "ddd, 00 mmm 0000 00:00:00 GMT";
    if (text.len != sizeof form - 1)
        return -EINVAL;
    for (size_t i = 0; i < text.len; i++)
        if ((form[i] < '0' || form[i] > '9') && (form[i] < 'a' || form[i] > 'z') &&
            text.p[i] != form[i])
            return -EINVAL;
    struct tm tm = {.tm_mday = number(text.p + 5, 2),
                    .tm_mon = -1,
                    .tm_year = number(text.p + 12, 4) - 1900,
                    .tm_hour = number(text.p + 17, 2),
                    .tm_min = number(text.p + 20, 2),
                    .tm_sec = number(text.p + 23, 2)};
    for (int i = 0; i < 12; i++)
        if (memcmp(text.p + 8, months[i], 3) == 0)
            tm.tm_mon = i;
    if (tm.tm_mon < 0 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_year < -1900 ||
        tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 ||
        tm.tm_sec > 60)
        return -EINVAL;
    *ret_seconds = timegm(&tm);
    return 0;
}

/* Whether a list of entity tags holds this one. weak: W/ in front makes no difference. */
static bool list_has(struct str list, const char *etag, bool weak)
{
    struct str item;
    while (str_split(&list, ',', &item)) {
        item = str_trim(item);
        if (str_eqz(item, "*"))
            return true;
        if (weak && str_starts(item, STR("W/")))
            item = (struct str){item.p + 2, item.len - 2};
        if (str_eqz(item, etag))
            return true;
    }
    return false;
}

int http_conditional_status(const struct http_headers *headers, const char *etag, int64_t mtime)
{
    struct str match = http_header_get(headers, "if-match");
    struct str none = http_header_get(headers, "if-none-match");
    struct str since = http_header_get(headers, "if-modified-since");
    struct str unmodified = http_header_get(headers, "if-unmodified-since");
    int64_t date;
    if (match.p) {
        if (!list_has(match, etag, false))
            return 412;
    } else if (unmodified.p && http_date_parse(unmodified, &date) == 0 && mtime > date) {
        return 412;
    }
    if (none.p)
        return list_has(none, etag, true) ? 304 : 200;
    return since.p && http_date_parse(since, &date) == 0 && mtime <= date ? 304 : 200;
}

bool http_conditional_write(struct str match, struct str none, const char *etag)
{
    if (match.p && (!etag || !list_has(match, etag, false)))
        return false;
    return !none.p || !etag || !list_has(none, etag, true);
}

bool http_conditional_range(const struct http_headers *headers, const char *etag, int64_t mtime)
{
    struct str value = http_header_get(headers, "if-range");
    int64_t date;
    if (!value.p)
        return true;
    return http_date_parse(value, &date) == 0 ? date == mtime : str_eqz(value, etag);
}
