/* SPDX-License-Identifier: Apache-2.0 */
/* Heads on their way through the proxy: what belongs to one connection only stays behind (RFC 9110
 * section 7.6.1), framing is made anew on each side. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "http/client.h"
#include "http/server.h"

struct proxy_head_options {
    const char *mask_host; /* maskRequestHost, "${PORT}" in it becomes port; NULL: Host stays */
    int port;
    bool drop_api_key; /* X-API-KEY holds a key of this server: no business of a sandbox */
};

/* Appends the request's fields for the upstream, complete lines. 0 or -ENOBUFS. */
int proxy_head_request(const struct http_request *request, const struct proxy_head_options *options,
                       struct buf *out);
/* Starts the response on x from the upstream's: false when it makes no sense (an upgrade nobody
 * asked for). */
bool proxy_head_response(struct http_exchange *x, const struct http_response *response,
                         bool add_cors);
