/* SPDX-License-Identifier: Apache-2.0 */
/* Host names. */
#include "base/hostname.h"

static bool label_valid(struct str label)
{
    if (label.len == 0 || label.len > 63)
        return false;
    for (size_t i = 0; i < label.len; i++) {
        char c = label.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return true;
}

bool hostname_valid(struct str name)
{
    struct str label = STR("");
    if (name.len == 0 || name.len > HOSTNAME_MAX)
        return false;
    while (str_split(&name, '.', &label))
        if (!label_valid(label))
            return false;
    for (size_t i = 0; i < label.len; i++)
        if (label.p[i] < '0' || label.p[i] > '9')
            return true;
    return false;
}

bool hostname_pattern_valid(struct str pattern)
{
    if (str_starts(pattern, STR("*."))) {
        pattern.p += 2;
        pattern.len -= 2;
    }
    return hostname_valid(pattern);
}

size_t hostname_normalize(struct str text, char out[HOSTNAME_SIZE])
{
    if (text.len > 1 && text.p[text.len - 1] == '.')
        text.len--;
    if (text.len > HOSTNAME_MAX)
        return 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    out[text.len] = '\0';
    return hostname_valid((struct str){out, text.len}) ? text.len : 0;
}

bool hostname_matches(struct str name, struct str pattern)
{
    if (!str_starts(pattern, STR("*.")))
        return str_eq(name, pattern);
    pattern.p++; /* the dot stays: "*.x.com" is not about "ax.com", nor "x.com" */
    pattern.len--;
    return name.len > pattern.len && str_ends(name, pattern);
}
