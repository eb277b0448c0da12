/* SPDX-License-Identifier: Apache-2.0 */
/* The three kinds of calls. */
#include "client/call.h"

#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/mem.h"
#include "rpc/envelope.h"

enum {
    MESSAGE_MAX = 64 << 20,
    STREAM_HOLD = 1 << 20,
    CHECK_MS = 5000,
    USER_MAX = 255,
};

int call_text(json_t *message, char **ret, struct carrel_error *err)
{
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (!text)
        return error_set(err, CARREL_INVALID, "a text that is not UTF-8 cannot be sent");
    *ret = text;
    return 0;
}

int call_parse(struct str text, json_t **ret, struct carrel_error *err)
{
    json_error_t why;
    json_t *json = json_loadb(text.p, text.len, JSON_DECODE_ANY, &why);
    if (!json)
        return error_set(err, CARREL_SERVER, "the answer is no JSON: %s", why.text);
    *ret = json;
    return 0;
}

/* ---- the control API ---- */

int call_control(struct carrel_client *client, const char *method, const char *path,
                 const char *body, const struct carrel_call *call, struct buf *ret_answer,
                 struct carrel_error *err)
{
    struct exchange x;
    exchange_begin(&x, client, call);
    exchange_to_control(&x);
    if (body)
        exchange_body(&x, "application/json", body, strlen(body));
    int rc = exchange_start(&x, method, path, err);
    if (rc == 0)
        rc = exchange_run(&x, err);
    *ret_answer = x.in;
    buf_init(&x.in, 0);
    exchange_end(&x);
    return rc;
}

int call_control_json(struct carrel_client *client, const char *method, const char *path,
                      json_t *body, const struct carrel_call *call, json_t **ret,
                      struct carrel_error *err)
{
    _cleanup_free_ char *text = NULL;
    if (body && call_text(body, &text, err) < 0)
        return -CARREL_INVALID;
    struct buf answer;
    int rc = call_control(client, method, path, text, call, &answer, err);
    if (rc == 0 && ret)
        rc = call_parse(buf_str(&answer), ret, err);
    buf_done(&answer);
    return rc;
}

/* ---- RPCs ---- */

static int as_user(struct exchange *x, const struct carrel_call *call, struct carrel_error *err)
{
    char pair[USER_MAX + 2], coded[BASE64_SIZE(USER_MAX + 2)];
    if (!call || !call->user)
        return 0;
    int n = snprintf(pair, sizeof pair, "%s:", call->user);
    if (n < 0 || (size_t)n >= sizeof pair || strchr(call->user, ':'))
        return error_set(err, CARREL_INVALID, "\"%.60s\" is no user's name", call->user);
    size_t len = base64_encode(pair, (size_t)n, coded);
    exchange_header(x, "Authorization: Basic %.*s", (int)len, coded);
    return 0;
}

static int start_rpc(struct exchange *x, struct carrel_sandbox *sandbox, const char *rpc,
                     const char *type, const void *body, size_t len, const struct carrel_call *call,
                     struct carrel_error *err)
{
    _cleanup_free_ char *path = xasprintf("/%s", rpc);
    exchange_to_sandbox(x, sandbox, CLIENT_AGENT_PORT);
    exchange_header(x, "Connect-Protocol-Version: 1");
    exchange_body(x, type, body, len);
    int rc = as_user(x, call, err);
    return rc < 0 ? rc : exchange_start(x, "POST", path, err);
}

int call_agent(struct carrel_sandbox *sandbox, const char *rpc, json_t *message,
               const struct carrel_call *call, json_t **ret, struct carrel_error *err)
{
    _cleanup_free_ char *text = NULL;
    if (call_text(message, &text, err) < 0)
        return -CARREL_INVALID;
    struct exchange x;
    exchange_begin(&x, sandbox->client, call);
    int rc = start_rpc(&x, sandbox, rpc, "application/json", text, strlen(text), call, err);
    if (rc == 0)
        rc = exchange_run(&x, err);
    if (rc == 0 && ret)
        rc = call_parse(buf_str(&x.in), ret, err);
    exchange_end(&x);
    return rc == -CARREL_CUT ? call_explain_cut(sandbox, rc, err) : rc;
}

int call_explain_cut(struct carrel_sandbox *sandbox, int rc, struct carrel_error *err)
{
    const struct carrel_call call = {.timeout_ms = CHECK_MS};
    struct carrel_error why;
    if (carrel_sandbox_check(sandbox, &call, &why) != -CARREL_GONE)
        return rc;
    if (err)
        *err = why;
    return -CARREL_GONE;
}

/* ---- streams ---- */

struct call_stream {
    struct carrel_sandbox *sandbox;
    struct exchange x;
    char *body;
    size_t given; /* bytes at the front of x.in that the last message takes */
    bool over;
};

int call_stream_open(struct carrel_sandbox *sandbox, const char *rpc, json_t *message,
                     int64_t limit_ms, const struct carrel_call *call, struct call_stream **ret,
                     struct carrel_error *err)
{
    _cleanup_free_ char *text = NULL;
    if (call_text(message, &text, err) < 0)
        return -CARREL_INVALID;
    struct call_stream *stream = xcalloc(1, sizeof *stream);
    size_t len = strlen(text);
    stream->sandbox = sandbox;
    stream->body = xmalloc(ENVELOPE_HEAD + len);
    envelope_head(0, (uint32_t)len, (unsigned char *)stream->body);
    memcpy(stream->body + ENVELOPE_HEAD, text, len);
    exchange_begin(&stream->x, sandbox->client, call);
    stream->x.hold = STREAM_HOLD;
    /* Asked often enough for a sign of life, silence means that the other side is away. */
    if (stream->x.silence_ns)
        exchange_header(&stream->x, "Keepalive-Ping-Interval: %lld",
                        (long long)(stream->x.silence_ns / CLOCK_S / 3 + 1));
    if (limit_ms > 0)
        exchange_header(&stream->x, "Connect-Timeout-Ms: %lld", (long long)limit_ms);
    int rc = start_rpc(&stream->x, sandbox, rpc, "application/connect+json", stream->body,
                       ENVELOPE_HEAD + len, call, err);
    if (rc < 0)
        call_stream_free(stream);
    else
        *ret = stream;
    return rc;
}

static int end_frame(struct str payload, struct carrel_error *err)
{
    json_t *frame = NULL;
    int rc = call_parse(payload, &frame, err);
    json_t *error = json_object_get(frame, "error");
    if (error) {
        const char *text = json_string_value(json_object_get(error, "message"));
        enum carrel_code code =
            error_from_connect(json_string_value(json_object_get(error, "code")));
        rc = error_set(err, code, "%s", text ? text : "the call failed");
    }
    json_decref(frame);
    return rc;
}

/* A whole message of what has arrived: 1, or 0 if there is none yet, or an error. */
static int take_message(struct call_stream *stream, struct str *ret, struct carrel_error *err)
{
    uint8_t flags;
    int64_t n = envelope_parse(buf_str(&stream->x.in), MESSAGE_MAX, &flags, ret);
    if (n == 0)
        return 0;
    if (n < 0 || (flags & ENVELOPE_COMPRESSED)) {
        stream->over = true;
        return error_set(err, CARREL_SERVER, "the stream has what is no message");
    }
    stream->given = (size_t)n;
    if (!(flags & ENVELOPE_END))
        return 1;
    stream->over = true;
    int rc = end_frame(*ret, err);
    return rc < 0 ? rc : 0;
}

/* Without an end frame it is no end, whatever HTTP thinks. */
static int broken(struct call_stream *stream, struct carrel_error *err)
{
    stream->over = true;
    int rc = exchange_result(&stream->x, err);
    return rc < 0 ? rc : error_set(err, CARREL_CUT, "the stream ended in the middle");
}

int call_stream_next(struct call_stream *stream, int64_t deadline_ns, struct str *ret,
                     struct carrel_error *err)
{
    struct exchange *x = &stream->x;
    buf_consume(&x->in, stream->given);
    stream->given = 0;
    while (!stream->over) {
        bool good = x->status == 200;
        int rc = good ? take_message(stream, ret, err) : 0;
        if (rc != 0 || stream->over)
            return rc;
        if (x->over)
            return broken(stream, err);
        if (x->paused)
            exchange_resume(x);
        else if ((rc = exchange_step(x, deadline_ns, err)) < 0) {
            stream->over = rc != -CARREL_TIMEOUT;
            return rc;
        }
    }
    return error_set(err, CARREL_CONFLICT, "the stream is over");
}

bool call_stream_over(const struct call_stream *stream)
{
    return stream->over;
}

void call_stream_free(struct call_stream *stream)
{
    if (!stream)
        return;
    exchange_end(&stream->x);
    free(stream->body);
    free(stream);
}
