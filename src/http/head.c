/* SPDX-License-Identifier: Apache-2.0 */
/* Header fields and query parameters. */
#include "http/head.h"

#include <stddef.h>

struct str http_header_get(const struct http_headers *headers, const char *name)
{
    for (size_t i = 0; i < headers->count; i++)
        if (str_ieqz(headers->list[i].name, name))
            return headers->list[i].value;
    return (struct str){NULL, 0};
}

bool http_header_has(const struct http_headers *headers, const char *name)
{
    return http_header_get(headers, name).p != NULL;
}

bool http_header_has_token(const struct http_headers *headers, const char *name, const char *token)
{
    for (size_t i = 0; i < headers->count; i++) {
        if (!str_ieqz(headers->list[i].name, name))
            continue;
        struct str rest = headers->list[i].value, item;
        while (str_split(&rest, ',', &item))
            if (str_ieqz(str_trim(item), token))
                return true;
    }
    return false;
}

/* Finds the first "name=value" whose decoded name matches; the raw value goes to *ret. */
static bool find_parameter(struct str query, const char *name, struct str *ret)
{
    struct str pair;
    while (str_split(&query, '&', &pair)) {
        struct str key;
        struct str value = pair;
        str_split(&value, '=', &key);
        if (!value.p)
            value = STR("");
        char decoded[256];
        if (key.len > sizeof decoded)
            continue;
        int64_t n = str_percent_decode(key, true, decoded);
        if (n >= 0 && str_eqz((struct str){decoded, (size_t)n}, name)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

bool http_query_get(struct str query, const char *name, struct buf *out, bool *ret_bad)
{
    struct str raw;
    *ret_bad = false;
    buf_clear(out);
    if (!find_parameter(query, name, &raw))
        return false;
    char *room = buf_reserve(out, raw.len);
    int64_t n = room ? str_percent_decode(raw, true, room) : -1;
    if (n < 0 || memchr(room, '\0', (size_t)n)) {
        *ret_bad = true;
        return true;
    }
    buf_added(out, (size_t)n);
    return true;
}

bool http_query_has(struct str query, const char *name)
{
    struct str ignored;
    return find_parameter(query, name, &ignored);
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"}, {101, "Switching Protocols"}, {200, "OK"}, {201, "Created"},
        {202, "Accepted"}, {204, "No Content"}, {206, "Partial Content"}, {301, "Moved Permanently"},
        {302, "Found"}, {304, "Not Modified"}, {307, "Temporary Redirect"},
        {308, "Permanent Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"},
        {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
        {406, "Not Acceptable"}, {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"},
        {411, "Length Required"}, {412, "Precondition Failed"}, {413, "Content Too Large"},
        {414, "URI Too Long"}, {415, "Unsupported Media Type"}, {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"}, {422, "Unprocessable Content"}, {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"}, {499, "Client Closed Request"},
        {500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"},
        {503, "Service Unavailable"}, {504, "Gateway Timeout"}, {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}
