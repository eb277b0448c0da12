/* SPDX-License-Identifier: Apache-2.0 */
/* A streamed Connect answer: messages in envelopes, keep-alives, a deadline, the end-of-stream frame.
 *
 * The owner writes messages as it likes and watches rpc_stream_queued: above its own limit it waits
 * for `drained`. The stream ends by rpc_stream_end, or when the peer goes. `closed` is the last
 * callback, called exactly once, never from inside a call of the owner's; the stream is freed after
 * it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "rpc/connect.h"

struct rpc_stream;

struct rpc_stream_events {
    /* All that was written has been taken by the socket. */
    void (*drained)(struct rpc_stream *s, void *arg);
    /* Connect-Timeout-Ms has passed; the owner ends the stream (ERR_TIMEOUT). NULL: ended with it. */
    void (*deadline)(struct rpc_stream *s, void *arg);
    /* Over: ended and delivered, or the peer has gone. */
    void (*closed)(struct rpc_stream *s, void *arg);
};

/* Starts the response (status 200, in the head's codec). keepalive: the message to send when
 * head->keepalive_ns have passed without another; static text, e.g. {"keepalive":{}}. events and
 * keepalive are borrowed until `closed`. Takes over the exchange's events. */
struct rpc_stream *rpc_stream_open(struct http_exchange *x, const struct rpc_head *head,
                                   struct str keepalive, const struct rpc_stream_events *events,
                                   void *arg);
/* One message, as JSON; it goes out in the stream's codec. */
void rpc_stream_send(struct rpc_stream *s, struct str json);
void rpc_stream_send_json(struct rpc_stream *s, const json_t *message);
/* Ready-made envelopes in the stream's codec, for those who build them in place. */
void rpc_stream_send_raw(struct rpc_stream *s, const void *p, size_t n);
/* Adds a name and value to the end frame's metadata (invisible to clients that do not ask). */
void rpc_stream_metadata(struct rpc_stream *s, const char *name, const char *value);
/* The end-of-stream frame: success when err is NULL. Nothing may be written after it. */
void rpc_stream_end(struct rpc_stream *s, const struct err *err);
size_t rpc_stream_queued(const struct rpc_stream *s);
/* As http_respond_taken. Both may be asked inside `closed`. */
uint64_t rpc_stream_taken(const struct rpc_stream *s);
