/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request may reach a sandbox (protocol.md 3.1, 3.6, 7.3, 7.4). Decides only; proxy.c
 * answers. */
#pragma once

#include "http/head.h"
#include "server/sandbox.h"

struct sandbox_list;

enum access_kind {
    ACCESS_ALLOWED,
    ACCESS_ERROR,   /* {"code","message"} */
    ACCESS_HIDDEN,  /* {"message","path","code":404} */
    ACCESS_TRAFFIC, /* {"sandboxId","message","code":403} */
};

struct access_verdict {
    enum access_kind kind;
    int status;
    const char *message; /* static */
};

/* now: unix seconds. */
struct access_verdict access_check(const struct sandbox *sandbox, int port,
                                   const struct http_request *request, int64_t now);

/* Whether a request that access_check allows may also wake a paused sandbox: the probe of /health
 * needs no token, but must not start anything either. */
bool access_may_resume(const struct sandbox *sandbox, int port, const struct http_request *request);

/* /files without any name of a sandbox: the one whose token made the signature. NULL when there is
 * none; then *ret_verdict says what to answer. The caller still has to ask access_check. */
struct sandbox *access_find_signed(const struct sandbox_list *list,
                                   const struct http_request *request,
                                   struct access_verdict *ret_verdict);

/* Whether path, once decoded and tidied, is one of the agent's internal routes. */
bool access_is_internal(struct str raw_path);
