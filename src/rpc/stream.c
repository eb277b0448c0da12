/* SPDX-License-Identifier: Apache-2.0 */
/* A streamed Connect answer. */
#include "rpc/stream.h"

#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/envelope.h"
#include "rpc/grpc_web.h"
#include "rpc/jsonx.h"

enum { SMALL_FRAME = 512, FRAME_MAX = 16 << 20 };

struct rpc_stream {
    struct http_exchange *exchange; /* NULL once it has closed */
    const struct rpc_stream_events *events;
    void *arg;
    enum rpc_codec codec;
    bool grpc_web;
    struct str keepalive;
    uint64_t keepalive_ms;
    uv_timer_t keepalive_timer;
    uv_timer_t deadline_timer;
    uint64_t sent_at; /* loop time of the last message */
    json_t *metadata; /* of the end frame, or NULL */
    int timers_open;
    bool ended;
};

static void timer_closed(uv_handle_t *handle)
{
    struct rpc_stream *s = handle->data;
    if (--s->timers_open == 0)
        free(s);
}

static void exchange_closed(struct http_exchange *x, void *arg)
{
    struct rpc_stream *s = arg;
    s->ended = true;
    if (s->events->closed)
        s->events->closed(s, s->arg);
    s->exchange = NULL;
    json_decref(s->metadata);
    uv_close((uv_handle_t *)&s->keepalive_timer, timer_closed);
    uv_close((uv_handle_t *)&s->deadline_timer, timer_closed);
}

static void exchange_drained(struct http_exchange *x, void *arg)
{
    struct rpc_stream *s = arg;
    if (!s->ended && s->events->drained)
        s->events->drained(s, s->arg);
}

static const struct http_exchange_events exchange_events = {
    .drained = exchange_drained,
    .closed = exchange_closed,
};

/* The timer is not moved with every message, that would cost more than it is worth on a busy stream:
 * it looks when it fires how long the stream has rested, and sleeps for what is left. */
static void keepalive_due(uv_timer_t *timer)
{
    struct rpc_stream *s = timer->data;
    if (s->ended)
        return;
    uint64_t rested = uv_now(timer->loop) - s->sent_at;
    if (rested >= s->keepalive_ms) {
        rested = 0;
        if (rpc_stream_queued(s) == 0) /* a peer that does not read needs no sign of life */
            rpc_stream_send(s, s->keepalive);
    }
    uv_timer_start(timer, keepalive_due, s->keepalive_ms - rested, 0);
}

static void deadline_due(uv_timer_t *timer)
{
    struct rpc_stream *s = timer->data;
    if (s->ended)
        return;
    if (s->events->deadline) {
        s->events->deadline(s, s->arg);
        return;
    }
    struct err err;
    err_set(&err, ERR_TIMEOUT, 0, "the stream's time limit has passed");
    rpc_stream_end(s, &err);
}

static uint64_t ms_up(int64_t ns)
{
    return (uint64_t)((ns + CLOCK_MS - 1) / CLOCK_MS);
}

struct rpc_stream *rpc_stream_open(struct http_exchange *x, const struct rpc_head *head,
                                   struct str keepalive, const struct rpc_stream_events *events,
                                   void *arg)
{
    uv_loop_t *loop = http_exchange_loop(x);
    struct rpc_stream *s = xmalloc(sizeof *s);
    *s = (struct rpc_stream){
        .exchange = x,
        .events = events,
        .arg = arg,
        .codec = head->codec,
        .grpc_web = head->grpc_web,
        .keepalive = keepalive,
        .keepalive_ms = ms_up(head->keepalive_ns),
        .sent_at = uv_now(loop),
        .timers_open = 2,
    };
    uv_timer_init(loop, &s->keepalive_timer);
    uv_timer_init(loop, &s->deadline_timer);
    s->keepalive_timer.data = s->deadline_timer.data = s;
    uv_timer_start(&s->keepalive_timer, keepalive_due, s->keepalive_ms, 0);
    if (head->timeout_ns >= 0) {
        uv_update_time(loop); /* the limit counts from now, not from the loop turn's beginning */
        uv_timer_start(&s->deadline_timer, deadline_due, ms_up(head->timeout_ns), 0);
    }
    http_exchange_on(x, &exchange_events, s);
    http_respond_header(x, "Content-Type",
                        s->grpc_web ? grpc_web_content_type(s->codec)
                                    : rpc_content_type(s->codec, true));
    http_respond_start(x, 200, HTTP_LENGTH_CHUNKED);
    return s;
}

void rpc_stream_send_raw(struct rpc_stream *s, const void *p, size_t n)
{
    if (s->ended)
        return;
    s->sent_at = uv_now(s->keepalive_timer.loop);
    http_respond_write(s->exchange, p, n);
}

static void send_frame(struct rpc_stream *s, uint8_t flags, struct str payload)
{
    char small[SMALL_FRAME];
    if (payload.len <= sizeof small - ENVELOPE_HEAD) {
        envelope_head(flags, (uint32_t)payload.len, (unsigned char *)small);
        memcpy(small + ENVELOPE_HEAD, payload.p, payload.len);
        rpc_stream_send_raw(s, small, ENVELOPE_HEAD + payload.len);
        return;
    }
    struct buf frame;
    buf_init(&frame, FRAME_MAX);
    if (envelope_append(&frame, flags, payload) == 0)
        rpc_stream_send_raw(s, buf_ptr(&frame), buf_len(&frame));
    buf_done(&frame);
}

void rpc_stream_send(struct rpc_stream *s, struct str json)
{
    if (s->codec == RPC_CODEC_JSON || !s->exchange) {
        send_frame(s, 0, json);
        return;
    }
    struct buf binary;
    buf_init(&binary, FRAME_MAX);
    if (rpc_encode_text(s->exchange, json, &binary) == 0)
        send_frame(s, 0, buf_str(&binary));
    buf_done(&binary);
}

void rpc_stream_send_json(struct rpc_stream *s, const json_t *message)
{
    _cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);
    rpc_stream_send(s, text ? str_from(text) : STR("{}"));
}

void rpc_stream_metadata(struct rpc_stream *s, const char *name, const char *value)
{
    if (!s->metadata)
        s->metadata = json_object();
    json_object_set_new(s->metadata, name, json_pack("[s]", value));
}

static void send_trailers(struct rpc_stream *s, const struct err *err)
{
    struct buf frame;
    buf_init(&frame, FRAME_MAX);
    if (grpc_web_end(&frame, err, s->metadata) == 0)
        rpc_stream_send_raw(s, buf_ptr(&frame), buf_len(&frame));
    buf_done(&frame);
}

static void send_end(struct rpc_stream *s, const struct err *err)
{
    json_t *end = json_object();
    if (err)
        json_object_set_new(end, "error", rpc_error_json(err));
    if (s->metadata)
        json_object_set(end, "metadata", s->metadata);
    _cleanup_free_ char *text = json_dumps(end, JSON_COMPACT);
    json_decref(end);
    send_frame(s, ENVELOPE_END, text ? str_from(text) : STR("{}"));
}

void rpc_stream_end(struct rpc_stream *s, const struct err *err)
{
    if (s->ended)
        return;
    if (s->grpc_web)
        send_trailers(s, err);
    else
        send_end(s, err);
    s->ended = true;
    uv_timer_stop(&s->keepalive_timer);
    uv_timer_stop(&s->deadline_timer);
    http_respond_end(s->exchange);
}

size_t rpc_stream_queued(const struct rpc_stream *s)
{
    return s->exchange ? http_respond_queued(s->exchange) : 0;
}

uint64_t rpc_stream_taken(const struct rpc_stream *s)
{
    return s->exchange ? http_respond_taken(s->exchange) : 0;
}
