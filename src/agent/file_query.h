/* SPDX-License-Identifier: Apache-2.0 */
/* What GET and POST /files have in common: whose request it is and which path it means, from the
 * query (protocol.md 3.3, 3.4). Tokens and signatures are the server's business, not ours. */
#pragma once

#include "agent/route.h"

struct file_query {
    struct passwd_user user;
    char *workdir; /* of the configuration at that time, NULL for the home directory */
    char *path;    /* resolved, or NULL: not given, or empty */
};

/* Reads the query. 0, or the HTTP status to answer with, and *err: 400 for a malformed query, a path
 * that cannot be resolved, or no default user; 401 for an unknown user. */
int file_query_read(struct agent *agent, const struct http_request *request, struct file_query *ret,
                    struct err *err);
void file_query_done(struct file_query *q);
/* 401 or 400 as above for a name, which may be empty: the default user. */
int file_query_user(struct agent *agent, struct str name, struct passwd_user *ret, struct err *err);
