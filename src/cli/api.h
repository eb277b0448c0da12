/* SPDX-License-Identifier: Apache-2.0 */
/* A server's API as the commands use it, over libcurl: JSON requests, the agent's unary calls, and
 * the stream of a started process. Blocking; one handle is for one thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct api;

struct api_options {
    const char *url; /* borrowed until api_free, like the key */
    const char *key;
    unsigned timeout_s; /* of a whole request; streams have none */
};
/* NULL with err when libcurl is out of order. */
struct api *api_new(const struct api_options *options, struct err *err);
void api_free(struct api *api);

struct api_sandbox {
    char id[64];
    char token[128]; /* of its agent; "" if it has none */
};

/* One control request. body is borrowed and may be NULL; *ret (may be NULL) is the answer's JSON, or
 * NULL when it had none; the caller's. An answer of 400 and above is an error with its message. */
int api_request(struct api *api, const char *method, const char *path, json_t *body, json_t **ret,
                struct err *err);
int api_create(struct api *api, const char *template_name, unsigned timeout_s,
               struct api_sandbox *ret, struct err *err);
int api_kill(struct api *api, const struct api_sandbox *sandbox, struct err *err);

/* Writes a file as a user. */
int api_upload(struct api *api, const struct api_sandbox *sandbox, const char *user,
               const char *path, const void *p, size_t n, struct err *err);

struct api_process {
    const char *user;
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    bool terminal;           /* give it one */
    /* Called for each piece of output; true: go on, false: leave the process alone and return. */
    bool (*output)(void *arg, bool is_stderr, const char *p, size_t n);
    void *arg;
};
/* Starts a process and follows it to its end. *ret_exit is its exit code, -1 when the stream was
 * left. text[] is how it ended, e.g. "exit status 0"; may be NULL. */
int api_run(struct api *api, const struct api_sandbox *sandbox, const struct api_process *process,
            int *ret_exit, char text[128], struct err *err);

/* GET /health of the server, or of a sandbox's agent; *ret_ns is how long it took. */
int api_health(struct api *api, const struct api_sandbox *sandbox, int64_t *ret_ns,
               struct err *err);
