/* SPDX-License-Identifier: Apache-2.0 */
/* Header fields, request and response heads, as text and as values. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum {
    HTTP_HEADERS_MAX = 128,       /* fields of one head */
    HTTP_HEAD_BYTES_MAX = 65536,  /* of one head, request line included: 431 above it */
};

struct http_header {
    struct str name;
    struct str value;
};

/* Fields in the order received. Names keep the peer's case; compare ignoring it. */
struct http_headers {
    struct http_header *list;
    size_t count;
};

/* First value of a field, or NULL pointer if absent (.p == NULL). */
struct str http_header_get(const struct http_headers *headers, const char *name);
bool http_header_has(const struct http_headers *headers, const char *name);
/* Whether a comma-separated list field contains the token (ASCII case ignored). */
bool http_header_has_token(const struct http_headers *headers, const char *name, const char *token);

/* A request's head as parsed. Everything points into the connection's memory and is valid until
 * the exchange ends. */
struct http_request {
    struct str method;          /* "GET" */
    struct str target;          /* as sent: "/files?path=a%2Fb" (absolute form is reduced to this) */
    struct str path;            /* raw part before '?', not decoded */
    struct str query;           /* raw part after '?', empty if none */
    struct http_headers headers;
    int64_t content_length;     /* -1: chunked; 0: no body */
    bool upgrade;               /* Connection: upgrade with an Upgrade field, or CONNECT */
    bool expect_continue;
    bool keep_alive;
};

/* Value of a query parameter, decoded into *out (cleared first; '+' is a space). False when it is
 * absent. A bad escape or a NUL gives *ret_bad = true. */
bool http_query_get(struct str query, const char *name, struct buf *out, bool *ret_bad);
bool http_query_has(struct str query, const char *name);

/* The reason phrase for a status ("OK"), "" if unknown. */
const char *http_reason(int status);
