/* SPDX-License-Identifier: Apache-2.0 */
/* Borrowed text and strict number parsing. */
#include "base/str.h"

#include <errno.h>

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool str_eqz(struct str a, const char *b)
{
    return str_eq(a, str_from(b));
}

bool str_ieq(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool str_ieqz(struct str a, const char *b)
{
    return str_ieq(a, str_from(b));
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && memcmp(s.p, prefix.p, prefix.len) == 0;
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && memcmp(s.p + s.len - suffix.len, suffix.p, suffix.len) == 0;
}

struct str str_trim(struct str s)
{
    while (s.len && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.len--;
    }
    while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

size_t str_find(struct str s, char c)
{
    const char *hit = s.len ? memchr(s.p, c, s.len) : NULL;
    return hit ? (size_t)(hit - s.p) : s.len;
}

bool str_split(struct str *rest, char at, struct str *ret_head)
{
    if (!rest->p)
        return false;
    size_t n = str_find(*rest, at);
    *ret_head = (struct str){rest->p, n};
    if (n == rest->len)
        *rest = (struct str){NULL, 0};
    else
        *rest = (struct str){rest->p + n + 1, rest->len - n - 1};
    return true;
}

bool str_eq_secret(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    unsigned char difference = 0;
    for (size_t i = 0; i < a.len; i++)
        difference |= (unsigned char)(a.p[i] ^ b.p[i]);
    return difference == 0;
}

int str_to_u64(struct str s, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (s.len == 0)
        return -EINVAL;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -EINVAL;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    if (value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

int str_to_i64(struct str s, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = s.len > 0 && s.p[0] == '-';
    uint64_t magnitude;
    if (negative) {
        s.p++;
        s.len--;
    }
    int rc = str_to_u64(s, negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX, &magnitude);
    if (rc < 0)
        return rc;
    int64_t value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    if (value < min || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (lower(c) >= 'a' && lower(c) <= 'f')
        return lower(c) - 'a' + 10;
    return -1;
}

int64_t str_percent_decode(struct str s, bool plus_is_space, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '%') {
            if (i + 2 >= s.len)
                return -EINVAL;
            int high = hex_digit(s.p[i + 1]), low = hex_digit(s.p[i + 2]);
            if (high < 0 || low < 0)
                return -EINVAL;
            out[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[n++] = plus_is_space && s.p[i] == '+' ? ' ' : s.p[i];
        }
    }
    return (int64_t)n;
}
