/* SPDX-License-Identifier: Apache-2.0 */
/* SendInput and StreamInput: the calls that answer only when the process has taken its input, so
 * that a client can send no faster than the process reads. */
#include <errno.h>

#include "agent/handlers.h"
#include "agent/process.h"
#include "base/mem.h"
#include "rpc/envelope.h"
#include "rpc/jsonx.h"

static void input_error(int status, struct err *err)
{
    if (status == -EPIPE)
        err_set(err, ERR_INTERNAL, 0, "stdin not enabled or closed");
    else
        err_set(err, ERR_INTERNAL, -status, "write to the process");
}

/* ---- SendInput ---- */

/* One call in the making. Lives until both the exchange and the input are done with it. */
struct send {
    struct http_exchange *exchange; /* NULL once closed */
    bool queued;                    /* the process has the input */
    struct rpc_head head;
};

static void send_closed(struct http_exchange *x, void *arg)
{
    struct send *s = arg;
    s->exchange = NULL;
    if (!s->queued)
        free(s);
}

static void send_done(int status, void *arg)
{
    struct send *s = arg;
    struct err err;
    s->queued = false;
    if (!s->exchange) {
        free(s);
    } else if (status < 0) {
        input_error(status, &err);
        rpc_respond_error(s->exchange, &s->head, &err);
    } else {
        rpc_respond(s->exchange, NULL);
    }
}

void rpc_process_send_input(struct agent *agent, const struct rpc_request *request, json_t *in)
{
    static const struct http_exchange_events events = {.closed = send_closed};
    struct process_selector selector;
    struct process_input_bytes input = {0};
    struct process *p;
    struct err err;
    int rc = process_selector_parse(in, &selector, &err);
    if (rc >= 0)
        rc = process_find(agent->processes, &selector, false, &p, &err);
    if (rc >= 0)
        rc = process_input_parse(in, &input, &err);
    if (rc < 0) {
        rpc_respond_error(request->exchange, request->head, &err);
        return;
    }
    struct send *s = xmalloc(sizeof *s);
    *s = (struct send){.exchange = request->exchange, .queued = true, .head = *request->head};
    http_exchange_on(request->exchange, &events, s);
    rc = process_input(p, &input, send_done, s, &err);
    if (rc < 0) {
        s->queued = false;
        rpc_respond_error(request->exchange, request->head, &err);
    }
}

/* ---- StreamInput ---- */

enum { STREAMS_MAX = 64 << 20 }; /* bytes held of all of them */

/* One message at a time: while the process has not taken it, the body is not read. */
struct input_stream {
    struct agent *agent;
    struct http_exchange *exchange; /* NULL once closed */
    struct rpc_head head;
    struct buf in;
    uint32_t pid;
    bool started; /* pid is known */
    bool waiting; /* for the process to take the last message */
    bool ended;   /* the body is over */
    bool answered;
};

static void stream_free_if_unused(struct input_stream *s)
{
    if (s->exchange || s->waiting)
        return;
    s->agent->stream_bytes -= buf_len(&s->in);
    buf_done(&s->in);
    free(s);
}

static void stream_closed(struct http_exchange *x, void *arg)
{
    struct input_stream *s = arg;
    s->exchange = NULL;
    stream_free_if_unused(s);
}

static void stream_fail(struct input_stream *s, const struct err *err)
{
    if (s->answered || !s->exchange)
        return;
    s->answered = true;
    rpc_respond_error(s->exchange, &s->head, err);
}

static void stream_succeed(struct input_stream *s)
{
    struct buf out;
    buf_init(&out, 64);
    envelope_append(&out, 0, s->head.codec == RPC_CODEC_JSON ? STR("{}") : STR(""));
    envelope_append(&out, ENVELOPE_END, STR("{}"));
    s->answered = true;
    http_respond(s->exchange, 200, rpc_content_type(s->head.codec, true), buf_str(&out));
    buf_done(&out);
}

static void stream_continue(struct input_stream *s);

static void stream_taken(int status, void *arg)
{
    struct input_stream *s = arg;
    struct err err;
    s->waiting = false;
    if (!s->exchange) {
        stream_free_if_unused(s);
        return;
    }
    if (status < 0) {
        input_error(status, &err);
        stream_fail(s, &err);
        return;
    }
    http_body_resume(s->exchange);
    stream_continue(s);
}

/* {"start":{"process":…}}, {"data":{"input":…}} or {"keepalive":{}} */
static int stream_message(struct input_stream *s, const json_t *in, struct err *err)
{
    json_t *start = NULL, *data = NULL;
    struct process_selector selector = {0};
    struct process_input_bytes input = {0};
    struct process *p;
    int has_start = jsonx_object(in, "start", &start, err);
    int has_data = has_start < 0 ? has_start : jsonx_object(in, "data", &data, err);
    if (has_data < 0)
        return has_data;
    if (has_start == s->started || has_start + has_data > 1)
        return err_set(err, ERR_INVALID, 0,
                       "the first message must be 'start', and only the first");
    if (!has_start && !has_data)
        return 0; /* keepalive */
    int rc = has_start ? process_selector_parse(start, &selector, err) : 0;
    if (!has_start)
        selector.pid = s->pid;
    if (rc >= 0)
        rc = process_find(s->agent->processes, &selector, false, &p, err);
    if (rc < 0)
        return rc;
    s->started = true;
    s->pid = (uint32_t)process_pid(p);
    if (has_start)
        return 0;
    rc = process_input_parse(data, &input, err);
    if (rc < 0)
        return rc;
    s->waiting = true; /* before the call, which may be done at once */
    rc = process_input(p, &input, stream_taken, s, err);
    if (rc < 0)
        s->waiting = false;
    return rc;
}

/* Takes one envelope off the buffer and acts on it. 1: there may be more, 0: not now, <0: error. */
static int stream_step(struct input_stream *s, struct err *err)
{
    uint8_t flags;
    struct str payload;
    json_t *in;
    int64_t n = envelope_parse(buf_str(&s->in), RPC_MESSAGE_MAX, &flags, &payload);
    if (n < 0)
        return err_set(err, ERR_EXHAUSTED, 0, "a message is longer than %d bytes", RPC_MESSAGE_MAX);
    if (n == 0 && s->ended && buf_len(&s->in))
        return err_set(err, ERR_INVALID, 0, "the last envelope is cut");
    if (n == 0)
        return 0;
    if (flags & ENVELOPE_COMPRESSED)
        return err_set(err, ERR_INVALID, 0,
                       "a compressed message without Connect-Content-Encoding");
    int rc = 0;
    if (!(flags & ENVELOPE_END)) {
        rc = rpc_decode_request(s->exchange, &s->head, payload, &in, err);
        if (rc < 0)
            return rc;
    }
    buf_consume(&s->in, (size_t)n);
    s->agent->stream_bytes -= (size_t)n;
    if (flags & ENVELOPE_END)
        return 1;
    rc = stream_message(s, in, err);
    json_decref(in);
    return rc < 0 ? rc : 1;
}

static void stream_continue(struct input_stream *s)
{
    struct err err;
    int rc = 1;
    while (!s->answered && !s->waiting && rc > 0)
        rc = stream_step(s, &err);
    if (rc < 0) {
        stream_fail(s, &err);
    } else if (s->waiting) {
        if (!s->ended)
            http_body_pause(s->exchange);
    } else if (s->ended && !s->answered) {
        if (s->started) {
            stream_succeed(s);
        } else {
            err_set(&err, ERR_INVALID, 0, "a stream without messages");
            stream_fail(s, &err);
        }
    }
}

static void stream_data(struct http_exchange *x, const char *p, size_t n, void *arg)
{
    struct input_stream *s = arg;
    struct err err;
    if (s->answered)
        return;
    if (n > STREAMS_MAX - s->agent->stream_bytes) {
        err_set(&err, ERR_EXHAUSTED, 0, "too many large streams at once");
        stream_fail(s, &err);
        return;
    }
    if (buf_append(&s->in, p, n) < 0) {
        err_set(&err, ERR_EXHAUSTED, 0, "a message is longer than %d bytes", RPC_MESSAGE_MAX);
        stream_fail(s, &err);
        return;
    }
    s->agent->stream_bytes += n;
    if (!s->waiting)
        stream_continue(s);
}

static void stream_end(struct http_exchange *x, int status, void *arg)
{
    struct input_stream *s = arg;
    struct err err;
    s->ended = true;
    if (status < 0) {
        err_set(&err, ERR_INVALID, 0, "the request body is cut");
        stream_fail(s, &err);
    } else if (!s->waiting) {
        stream_continue(s);
    }
}

void rpc_process_stream_input(struct agent *agent, const struct rpc_request *request)
{
    static const struct http_exchange_events events = {.closed = stream_closed};
    static const struct http_body_events body = {.data = stream_data, .end = stream_end};
    struct input_stream *s = xcalloc(1, sizeof *s);
    s->agent = agent;
    s->exchange = request->exchange;
    s->head = *request->head;
    /* One message, and the piece of the next that came along with its end. */
    buf_init(&s->in, RPC_MESSAGE_MAX + (1 << 20));
    http_exchange_on(request->exchange, &events, s);
    http_body_read(request->exchange, &body, s);
}
