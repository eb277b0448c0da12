/* SPDX-License-Identifier: Apache-2.0 */
/* Content coding negotiation. */
#include "http/accept.h"

struct wishes {
    int identity, gzip, any; /* thousandths, -1: not mentioned */
    bool other;              /* another coding is welcome, too */
};

/* "0.5" in thousandths; what is malformed counts as 1. */
static int parse_weight(struct str s)
{
    if (s.len == 0 || s.p[0] != '0')
        return 1000;
    int value = 0, scale = 100;
    for (size_t i = 2; i < s.len && scale; i++, scale /= 10) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 1000;
        value += (s.p[i] - '0') * scale;
    }
    return value;
}

static void read_item(struct str item, struct wishes *w)
{
    struct str coding, parameter;
    int q = 1000;
    if (!str_split(&item, ';', &coding))
        return;
    coding = str_trim(coding);
    while (str_split(&item, ';', &parameter)) {
        parameter = str_trim(parameter);
        if (parameter.len >= 2 && (parameter.p[0] | 0x20) == 'q' && parameter.p[1] == '=')
            q = parse_weight((struct str){parameter.p + 2, parameter.len - 2});
    }
    if (str_ieqz(coding, "identity"))
        w->identity = q;
    else if (str_ieqz(coding, "gzip") || str_ieqz(coding, "x-gzip"))
        w->gzip = q;
    else if (str_ieqz(coding, "*"))
        w->any = q;
    else if (coding.len && q > 0)
        w->other = true;
}

enum http_coding http_accept_coding(const struct http_headers *headers)
{
    struct wishes w = {-1, -1, -1, false};
    for (size_t i = 0; i < headers->count; i++) {
        struct str value = headers->list[i].value, item;
        if (str_ieqz(headers->list[i].name, "accept-encoding"))
            while (str_split(&value, ',', &item))
                read_item(item, &w);
    }
    int gzip = w.gzip >= 0 ? w.gzip : w.any > 0 ? w.any : 0;
    int identity =
        w.identity >= 0 ? w.identity : w.any; /* -1: not mentioned, which is acceptable */
    if (identity == 0)
        return gzip > 0 ? HTTP_CODING_GZIP : HTTP_CODING_NONE;
    return w.gzip > 0 && !w.other && w.gzip > identity ? HTTP_CODING_GZIP : HTTP_CODING_IDENTITY;
}
