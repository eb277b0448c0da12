/* SPDX-License-Identifier: Apache-2.0 */
/* Incremental multipart/form-data parser (RFC 7578). Holds back no more than a boundary's length of
 * content; a part's head is bounded. Hostile input: every error names itself. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct multipart;

/* All views are valid during the call. A callback's negative return stops the parser, which then
 * returns that number. */
struct multipart_events {
    /* name and filename are decoded: quoted-string escapes, and %22 %0D %0A as browsers, httpx and
     * undici write them. filename.p == NULL when there is none. */
    int (*part)(struct str name, struct str filename, struct str content_type, void *arg);
    int (*data)(const char *p, size_t n, void *arg);
    int (*part_end)(void *arg);
};

/* content_type: the request's Content-Type value. 0, or -EINVAL with err saying what is missing. */
int multipart_open(struct str content_type, const struct multipart_events *events, void *arg,
                   struct multipart **ret, struct err *err);
/* 0 or negative errno (then err is set unless a callback stopped it). */
int multipart_feed(struct multipart *m, const char *p, size_t n, struct err *err);
/* The body is over: -EINVAL if the closing boundary has not been seen. */
int multipart_finish(struct multipart *m, struct err *err);
void multipart_free(struct multipart *m);
