/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a request is for: the control API, or a port of a sandbox (protocol.md 7.1). */
#pragma once

#include "http/head.h"

enum {
    ROUTE_ID_MAX = 31,       /* launcher/message.h */
    ROUTE_AGENT_PORT = 49983 /* answered by the agent itself */
};

enum route_kind {
    ROUTE_API,
    ROUTE_SANDBOX, /* id and port are set */
    ROUTE_FILES,   /* /files with nothing that names a sandbox: the signature must */
    ROUTE_BAD,     /* 400, plain text in `bad` */
};

struct route {
    enum route_kind kind;
    char id[ROUTE_ID_MAX + 1];
    int port;
    const char *bad;
};

void route_request(const struct http_request *request, struct route *ret);

/* Reads "<id>" or "<id>-<more>" (the rest is ignored): id is [a-z0-9]{1,31}, upper case lowered
 * because host names have no case. 0 or -EINVAL. */
int route_parse_id(struct str text, char ret_id[ROUTE_ID_MAX + 1]);
