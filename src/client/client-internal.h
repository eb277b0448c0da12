/* SPDX-License-Identifier: Apache-2.0 */
/* What the client's files share: handles, errors, and the one way requests are made. Not installed. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "carrel/client.h"

enum {
    CLIENT_AGENT_PORT = 49983,
    CLIENT_CODE_PORT = 49999,
    CLIENT_TIMEOUT_MS = 60000,
    CLIENT_ANSWER_MAX = 1 << 30,
};

struct line; /* exchange.c: a libcurl handle with its connections */

struct carrel_client {
    char *key;
    char *api_url; /* without a slash at the end */
    char *sandbox_url;
    char *user_agent;
    char *no_proxy;
    char *authorities; /* a file of certificates to trust; NULL: the system's */
    int64_t timeout_ms;
    pthread_mutex_t lock; /* of what follows */
    struct line *idle;
    size_t idle_count;
};

struct carrel_sandbox {
    struct carrel_client *client;
    char *id;
    char *token;         /* of the agent; NULL: none */
    char *traffic_token; /* of its other ports; NULL: none */
    char *domain;        /* that names of its ports end in; NULL: unknown */
};

struct carrel_cancel {
    int fd; /* an eventfd: readable once it is cancelled */
    atomic_bool set;
};

/* ---- errors: each fills *err, if it is not NULL, and returns -code ---- */

int error_set(struct carrel_error *err, enum carrel_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* CARREL_LOCAL, or CARREL_LIMIT for want of descriptors or memory, with the errno's text behind. */
int error_os(struct carrel_error *err, int os, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "context: " in front. Returns -err->code, or rc when err is NULL. */
int error_wrap(struct carrel_error *err, int rc, const char *context);
/* What an HTTP status, and a body that explains it, mean. sandbox: the answer is about a sandbox. */
int error_http(struct carrel_error *err, long status, const char *body, size_t len, bool sandbox);
/* What the Connect protocol calls it; CARREL_SERVER for unknown words. */
enum carrel_code error_from_connect(const char *word);
