/* SPDX-License-Identifier: Apache-2.0 */
/* The Connect protocol over one HTTP exchange (protocol.md 4.1): what a request's head says, unary
 * answers and unary errors. Streamed answers are in rpc/stream.h.
 *
 * Two codecs, JSON and protobuf's binary one. Handlers work with JSON trees (or JSON text) whatever
 * came over the wire: binary messages become trees when they come and bytes when they go, by the
 * tables of rpc/proto.h. Errors and end-of-stream frames are JSON in both.
 *
 * gRPC-Web (rpc/grpc_web.h) is spoken by the same functions to clients whose content type asks. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "http/server.h"

enum {
    RPC_MESSAGE_MAX = 4 << 20, /* bytes of one message from a peer */
    RPC_KEEPALIVE_DEFAULT_S = 90,
};

enum rpc_codec { RPC_CODEC_JSON, RPC_CODEC_PROTO };

struct rpc_head {
    enum rpc_codec codec;
    bool grpc_web;        /* messages in envelopes, unary ones too */
    bool streaming;       /* application/connect+…, errors travel in the end-of-stream frame */
    int64_t timeout_ns;   /* Connect-Timeout-Ms; -1: none */
    int64_t keepalive_ns; /* Keepalive-Ping-Interval */
    bool user_given;      /* by Authorization: Basic */
    uint16_t user_len;
    char user_text[256];
};

/* The user named in the request; .p == NULL when none is. Lives as long as the head. */
static inline struct str rpc_head_user(const struct rpc_head *head)
{
    return (struct str){head->user_given ? head->user_text : NULL, head->user_len};
}

/* Whether the Content-Type is one that a method of this kind takes; sets codec and streaming. When
 * it is not, the caller answers with rpc_respond_unsupported. */
bool rpc_head_type(const struct http_request *request, bool streaming, struct rpc_head *ret);
/* Reads the other fields into *ret (after rpc_head_type). ERR_INVALID for a malformed
 * Connect-Timeout-Ms or protocol version, ERR_UNIMPLEMENTED for a compression we do not speak,
 * ERR_UNAUTHENTICATED for an Authorization that is not Basic. */
int rpc_head_parse(const struct http_request *request, struct rpc_head *ret, struct err *err);

/* 415 with the types that would be accepted. */
void rpc_respond_unsupported(struct http_exchange *x, bool streaming);
/* Unary success in the request's codec; out is borrowed, NULL is the empty message. */
void rpc_respond(struct http_exchange *x, const json_t *out);
/* The same with an answer that is JSON text already. */
void rpc_respond_text(struct http_exchange *x, struct str json);
/* The content type of an answer. */
const char *rpc_content_type(enum rpc_codec codec, bool streaming);
/* Of an exchange's request. */
enum rpc_codec rpc_codec_of(const struct http_exchange *x);
/* Appends an answer of the exchange's method, which is JSON text, in binary. 0, or negative when the
 * text is not such an answer. */
int rpc_encode_text(const struct http_exchange *x, struct str json, struct buf *out);
/* The error of a unary call, or of a stream that has not been opened (then HTTP status 200 and an
 * end-of-stream frame). */
void rpc_respond_error(struct http_exchange *x, const struct rpc_head *head, const struct err *err);

/* Decodes one JSON message, which must be an object. ERR_INVALID says where it is wrong. The result
 * is owned by the caller. */
int rpc_decode(struct str body, json_t **ret, struct err *err);
/* Decodes a message of the exchange's method in the head's codec. */
int rpc_decode_request(const struct http_exchange *x, const struct rpc_head *head, struct str body,
                       json_t **ret, struct err *err);
/* {"code":"…","message":"…"} for an error. Owned by the caller. */
json_t *rpc_error_json(const struct err *err);
