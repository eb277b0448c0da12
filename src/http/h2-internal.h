/* SPDX-License-Identifier: Apache-2.0 */
/* Shared between the connection (h2.c) and its streams (h2_stream.c). */
#pragma once

#include <nghttp2/nghttp2.h>

#include "http/loop.h"
#include "http/parser.h"
#include "http/server-internal.h"
#include "http/stream-internal.h"

TAILQ_HEAD(h2_stream_list, h2_stream);

struct h2 {
    struct http_guest guest;
    struct http_server *server;
    struct stream *transport; /* NULL once closed */
    nghttp2_session *session;
    struct buf out;             /* frames that the transport has not taken yet */
    struct http_task task;      /* h2_settle */
    uv_timer_t timer;           /* of the greeting, and of rest without streams */
    struct h2_stream_list open; /* those that nghttp2 is not done with */
    unsigned streams;           /* not yet freed */
    unsigned cancelled; /* streams that the client took back, less those that were answered */
    bool closing;
};

/* One stream. Freed when both nghttp2 and the owner are done with it. */
struct h2_stream {
    struct stream base;
    struct h2 *h2;
    TAILQ_ENTRY(h2_stream) link;
    int32_t id;

    /* request, while its fields arrive */
    struct buf fields; /* as lines of HTTP/1.1 */
    struct buf cookie; /* its crumbs, joined */
    struct buf method, path, authority, host;
    bool has_length;
    bool bad; /* fields that cannot be told in HTTP/1.1: refused */

    /* request, as it is read */
    struct buf head; /* not yet read */
    struct buf body; /* not yet read; bounded by the window that we give */
    bool chunked;
    bool body_ended; /* the client sends no more */
    bool told_end;   /* and the reader knows */

    /* response */
    struct parser *parser;
    struct buf out; /* body bytes that nghttp2 has not taken yet */
    bool head_request;
    bool answered; /* its head is submitted */
    bool response_ended;
    bool paused;   /* the parser, as `out` was full */
    bool deferred; /* nghttp2 waits for more of the body */
    bool end_sent; /* nghttp2 has all of it */

    bool reset;     /* nghttp2 is done with it */
    bool abandoned; /* the owner is */
    bool want_read, want_write;
    struct http_task task; /* tells the owner */
};

/* h2.c: something is to be sent, or the window to be widened. */
void h2_wake(struct h2 *h2);
void h2_stream_freed(struct h2 *h2);

/* h2_stream.c */
struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id);
/* 0 or a code of nghttp2's. */
int h2_stream_field(struct h2_stream *s, struct str name, struct str value);
/* All fields are there: the server gets it. */
void h2_stream_begin(struct h2_stream *s, bool ended);
void h2_stream_data(struct h2_stream *s, const uint8_t *p, size_t n);
void h2_stream_body_ended(struct h2_stream *s);
/* nghttp2 is done with it, or the connection is gone. */
void h2_stream_gone(struct h2_stream *s);
