/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP dates and conditional requests (RFC 9110 5.6.7 and 13). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "http/head.h"

enum { HTTP_DATE_SIZE = 32 };
/* "Sun, 06 Nov 1994 08:49:37 GMT" */
void http_date_format(int64_t seconds, char out[HTTP_DATE_SIZE]);
/* The same form only; the two obsolete ones are not read. 0 or -EINVAL. */
int http_date_parse(struct str text, int64_t *ret_seconds);

/* What a GET is to be answered with, given the file's entity tag (quoted) and modification time:
 * 200, 304 or 412. */
int http_conditional_status(const struct http_headers *headers, const char *etag, int64_t mtime);
/* Whether something may be written, by If-Match and If-None-Match (.p NULL: not given). etag: of what
 * is there, NULL for nothing. */
bool http_conditional_write(struct str match, struct str none, const char *etag);
/* Whether a Range field counts: there is no If-Range, or it matches. */
bool http_conditional_range(const struct http_headers *headers, const char *etag, int64_t mtime);
