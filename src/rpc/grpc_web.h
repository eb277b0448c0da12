/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC-Web (the binary form, PROTOCOL-WEB.md of grpc): messages in the same envelopes as Connect's
 * streams, for unary calls too, and an end frame that holds trailers as text. HTTP status is always
 * 200. A third way to say the same; rpc/connect.h and rpc/stream.h call it, handlers know nothing. */
#pragma once

#include <jansson.h>

#include "rpc/connect.h"

/* Whether a content type is gRPC-Web's, and with which codec. */
bool grpc_web_type(struct str type, enum rpc_codec *ret_codec);
const char *grpc_web_content_type(enum rpc_codec codec);

/* grpc-timeout and grpc-encoding into *ret. ERR_INVALID, ERR_UNIMPLEMENTED. */
int grpc_web_head(const struct http_request *request, struct rpc_head *ret, struct err *err);

/* The whole answer of a unary call: a message in the codec's encoding, or an error. */
void grpc_web_respond(struct http_exchange *x, enum rpc_codec codec, struct str message);
void grpc_web_respond_error(struct http_exchange *x, enum rpc_codec codec, const struct err *err);
/* Appends the end frame: success when err is NULL. metadata: name to list of texts, or NULL. 0 or
 * -ENOBUFS. */
int grpc_web_end(struct buf *out, const struct err *err, json_t *metadata);
