/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/1.1 message at a time out of a byte stream, on llhttp: collects the head into one
 * buffer, stops after it, then hands out the body. Used by server (requests) and client
 * (responses). Strict: no lenient flag of llhttp is set, so that what is ambiguous (both lengths,
 * bare LF, obsolete folding) is an error and cannot be smuggled past us. */
#pragma once

#include <llhttp.h>
#include <stdbool.h>

#include "base/buf.h"
#include "http/head.h"

enum parser_stop {
    PARSER_MORE,    /* all bytes taken, message not over */
    PARSER_HEAD,    /* the head is complete */
    PARSER_PAUSED,  /* the body callback asked to pause */
    PARSER_MESSAGE, /* the message is complete */
    PARSER_UPGRADE, /* the message is complete and what follows is not HTTP */
    PARSER_ERROR,   /* malformed: parser_error says why */
    PARSER_TOO_LARGE, /* the head passes the limits of http/head.h */
};

struct parser {
    llhttp_t http;
    struct buf head;     /* bytes of the start line's parts and fields */
    size_t url_end;      /* requests: [0, url_end) is the target */
    struct {
        uint32_t name, name_len, value, value_len; /* offsets into head */
    } fields[HTTP_HEADERS_MAX];
    size_t field_count;
    struct http_header list[HTTP_HEADERS_MAX]; /* filled when the head is complete */
    const char *feed_begin, *feed_end; /* of the present feed, for telling folded values */
    bool value_reaches_end;            /* the last piece of a value ran to the end of its feed */
    bool in_head;
    bool in_value;
    bool message_done;
    bool too_large;
    bool folded;
    /* false pauses after this piece */
    bool (*body)(const char *p, size_t n, void *arg);
    void *arg;
};

struct parser *parser_new(enum llhttp_type type, bool (*body)(const char *, size_t, void *), void *arg);
void parser_free(struct parser *p);
/* Ready for the next message. */
void parser_reset(struct parser *p);
/* Feeds bytes; *ret_used says how many were taken. Call again with the rest after HEAD or PAUSED. */
enum parser_stop parser_feed(struct parser *p, const char *bytes, size_t n, size_t *ret_used);
/* The peer has closed: PARSER_MESSAGE if that ends the message, else PARSER_ERROR. */
enum parser_stop parser_finish(struct parser *p);
const char *parser_error(const struct parser *p);

/* Between PARSER_HEAD and the next feed: this response has no body whatever its fields say (it
 * answers HEAD), or what follows it is not HTTP (a 2xx to CONNECT). */
void parser_skip_body(struct parser *p);
void parser_set_upgrade(struct parser *p);

/* Valid after PARSER_HEAD until parser_reset. */
struct http_headers parser_headers(struct parser *p);
struct str parser_url(const struct parser *p);
/* -1: chunked or (responses) until the end of the connection; else the announced length, 0 if
 * none is. */
int64_t parser_content_length(const struct parser *p);
