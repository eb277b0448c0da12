/* SPDX-License-Identifier: Apache-2.0 */
/* How connections begin when a server speaks TLS: the first bytes tell. On one listener,
 *   TLS, with HTTP/2 or HTTP/1.1 as the client chooses by ALPN;
 *   HTTP/2 without TLS by prior knowledge ("PRI * HTTP/2.0");
 *   plain HTTP/1.1.
 * The latter two, if there is TLS, from this host only. */
#pragma once

#include "http/tls.h"

struct http_edge;

/* For http_server_options. The context (taken over) may be NULL: no TLS. */
struct http_edge *http_edge_open(struct tls_context *tls, int64_t greeting_ns);
/* After the server has closed and the loop has passed. */
void http_edge_close(struct http_edge *edge);
