/* SPDX-License-Identifier: Apache-2.0 */
/* A request's head as it came from a sandbox, and as it goes on to the server it names. Pure. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/hostname.h"
#include "http/head.h"

/* What was understood of a head that may go on. */
struct http_want {
    char name[HOSTNAME_SIZE]; /* of the host, normalized */
    bool upgrade;             /* to a WebSocket */
};

/* Checks the head and appends what is sent in its place: the same request, but for the fields that
 * belong to one connection; that ends with the answer. version: 10 and 11 are those of HTTP/1.x.
 * content_length is the parser's (-1: chunked).
 * NULL when it is fine, otherwise why not (and nothing is to be sent). *ret_host is what it asked for,
 * as far as that can be told. */
const char *http_head_rewrite(struct str method, struct str target, unsigned version,
                              const struct http_headers *headers, int64_t content_length,
                              struct buf *out, struct http_want *ret, struct str *ret_host);
