/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "base/utf8.h"

/* Bytes a character with this first byte takes, 0 if it cannot start one. */
static size_t length_from_first(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef)
        return 3;
    if (c >= 0xf0 && c <= 0xf4)
        return 4;
    return 0;
}

/* Whether the bytes present (at most the character's length) can begin this character. */
static bool begins(const unsigned char *p, size_t have)
{
    for (size_t i = 1; i < have; i++)
        if ((p[i] & 0xc0) != 0x80)
            return false;
    if (have >= 2) {
        if (p[0] == 0xe0 && p[1] < 0xa0)
            return false;
        if (p[0] == 0xed && p[1] > 0x9f)
            return false;
        if (p[0] == 0xf0 && p[1] < 0x90)
            return false;
        if (p[0] == 0xf4 && p[1] > 0x8f)
            return false;
    }
    return true;
}

size_t utf8_char(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = s.len ? length_from_first(p[0]) : 0;
    return n && n <= s.len && begins(p, n) ? n : 0;
}

bool utf8_valid(struct str s)
{
    for (size_t i = 0, n; i < s.len; i += n)
        if ((n = utf8_char((struct str){s.p + i, s.len - i})) == 0)
            return false;
    return true;
}

size_t utf8_whole(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t back = 1; back <= 3 && back <= s.len; back++) {
        size_t n = length_from_first(p[s.len - back]);
        if (n == 0)
            continue; /* a continuation byte, or not UTF-8: look further back */
        return n > back && begins(p + s.len - back, back) ? s.len - back : s.len;
    }
    return s.len;
}
