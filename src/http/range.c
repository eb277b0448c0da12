/* SPDX-License-Identifier: Apache-2.0 */
/* Byte ranges. */
#include "http/range.h"

#include <stdbool.h>

/* A number; what is too large for 63 bits is as good as the largest. */
static bool parse_number(struct str s, int64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        *ret = *ret > INT64_MAX / 10 - 9 ? INT64_MAX - 1 : *ret * 10 + (s.p[i] - '0');
    }
    return s.len > 0;
}

enum http_range http_range_parse(struct str value, int64_t size, int64_t *ret_first,
                                 int64_t *ret_length)
{
    struct str unit, text = value, from;
    if (!value.p || !str_split(&text, '=', &unit) || !str_ieqz(str_trim(unit), "bytes") || !text.p)
        return HTTP_RANGE_ALL;
    text = str_trim(text);
    if (str_find(text, ',') < text.len || !str_split(&text, '-', &from) || !text.p)
        return HTTP_RANGE_ALL;
    from = str_trim(from);
    text = str_trim(text);
    int64_t first, last = INT64_MAX - 1;
    if (from.len == 0) { /* the last n bytes */
        if (!parse_number(text, &last))
            return HTTP_RANGE_ALL;
        if (last == 0 || size == 0)
            return HTTP_RANGE_BAD;
        *ret_length = last < size ? last : size;
        *ret_first = size - *ret_length;
        return HTTP_RANGE_PART;
    }
    if (!parse_number(from, &first) || (text.len && !parse_number(text, &last)) || last < first)
        return HTTP_RANGE_ALL;
    if (first >= size)
        return HTTP_RANGE_BAD;
    *ret_first = first;
    *ret_length = (last < size - 1 ? last : size - 1) - first + 1;
    return HTTP_RANGE_PART;
}
