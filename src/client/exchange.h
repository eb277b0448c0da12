/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request and its answer, over libcurl. The caller pulls: nothing moves but inside
 * exchange_step and exchange_run, so a reader that is slow makes the server wait.
 *
 *     exchange_begin → headers, body → exchange_start → step… or run → exchange_end */
#pragma once

#include <curl/curl.h>

#include "base/buf.h"
#include "client/client-internal.h"

struct exchange {
    struct carrel_client *client;
    struct line *line;
    CURL *easy;
    struct curl_slist *headers;
    struct carrel_cancel *cancel;
    int64_t silence_ns; /* how long the server may be silent; 0: for ever */
    int64_t last_ns;    /* when it last was not */

    carrel_source_fn *source; /* of the request's body */
    carrel_sink_fn *sink;     /* for a good answer's body; NULL: it goes to `in` */
    void *arg;                /* of both */
    struct buf in;            /* what was not taken yet; a bad answer's body in any case */
    size_t hold;              /* pause when `in` has more; 0: its ceiling is an error */

    bool sandbox; /* the other end is a sandbox */
    bool paused;
    bool refused; /* sink or source had enough */
    bool over;    /* the answer is complete, or will never be */
    CURLcode result;
    long status; /* 0 until the head is there */
    char why[CURL_ERROR_SIZE];
};

void exchange_begin(struct exchange *x, struct carrel_client *client,
                    const struct carrel_call *call);
void exchange_header(struct exchange *x, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The headers that say whose request it is. */
void exchange_to_control(struct exchange *x);
void exchange_to_sandbox(struct exchange *x, const struct carrel_sandbox *sandbox, unsigned port);
/* A body that is there, borrowed until exchange_end. */
void exchange_body(struct exchange *x, const char *type, const void *p, size_t n);
/* A body that is asked for; size -1: not known. */
void exchange_source(struct exchange *x, const char *type, carrel_source_fn *source, void *arg,
                     int64_t size);
/* Sends it off to the URL base + path. 0 or an error. */
int exchange_start(struct exchange *x, const char *method, const char *path,
                   struct carrel_error *err);
/* Moves what can be moved, waiting for that until deadline_ns (0: as long as it takes). 0,
 * -CARREL_TIMEOUT at the deadline, -CARREL_CANCELED, or -CARREL_CUT for too long a silence; how the
 * exchange itself ended is x->over and exchange_result. */
int exchange_step(struct exchange *x, int64_t deadline_ns, struct carrel_error *err);
/* Lets a paused exchange go on. */
void exchange_resume(struct exchange *x);
/* Once over: 0, or what went wrong, by libcurl's or the server's word. */
int exchange_result(struct exchange *x, struct carrel_error *err);
/* Steps to the end; 0 or what went wrong. */
int exchange_run(struct exchange *x, struct carrel_error *err);
/* Due after exchange_begin, whatever happened. */
void exchange_end(struct exchange *x);

/* Frees the client's idle lines. */
void exchange_close_lines(struct carrel_client *client);
