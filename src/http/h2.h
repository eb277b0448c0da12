/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 for a server of HTTP/1.1 (RFC 9113, on nghttp2).
 *
 * Each stream of the connection is given to the server as a connection of its own: a struct stream
 * that reads as the request's text and takes the response's. So whatever a handler does works for
 * both, and what may be translated wrongly is in one place. The text is made from fields that nghttp2
 * and we have checked. Not carried: CONNECT, upgrades (browsers make another connection for a
 * WebSocket), trailers. */
#pragma once

#include "http/server-internal.h"

/* Takes the stream over; nothing has been read from it, the client's preface comes first. */
void h2_open(struct http_server *server, struct stream *transport);
