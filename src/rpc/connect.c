/* SPDX-License-Identifier: Apache-2.0 */
/* The Connect protocol: heads, unary answers and errors. */
#include "rpc/connect.h"

#include <errno.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/mem.h"
#include "rpc/envelope.h"
#include "rpc/grpc_web.h"
#include "rpc/jsonx.h"
#include "rpc/proto.h"

enum { ANSWER_MAX = 64 << 20 };

/* By codec, then by whether it is a stream. */
static const char *const content_types[][2] = {
    [RPC_CODEC_JSON] = {"application/json", "application/connect+json"},
    [RPC_CODEC_PROTO] = {"application/proto", "application/connect+proto"},
};
static const char unary_json[] = "application/json";

const char *rpc_content_type(enum rpc_codec codec, bool streaming)
{
    return content_types[codec][streaming];
}

/* ---- request ---- */

bool rpc_head_type(const struct http_request *request, bool streaming, struct rpc_head *ret)
{
    struct str rest = http_header_get(&request->headers, "content-type"), type;
    if (!rest.p || !str_split(&rest, ';', &type))
        return false;
    for (size_t codec = 0; codec < ARRAY_SIZE(content_types); codec++) {
        *ret = (struct rpc_head){
            .codec = (enum rpc_codec)codec, .streaming = streaming, .timeout_ns = -1};
        if (str_ieqz(str_trim(type), content_types[codec][streaming]))
            return true;
    }
    ret->grpc_web = grpc_web_type(str_trim(type), &ret->codec);
    return ret->grpc_web;
}

static bool is_grpc_web(const struct http_exchange *x)
{
    struct str rest = http_header_get(&http_exchange_request(x)->headers, "content-type"), type;
    enum rpc_codec codec;
    return rest.p && str_split(&rest, ';', &type) && grpc_web_type(str_trim(type), &codec);
}

enum rpc_codec rpc_codec_of(const struct http_exchange *x)
{
    const struct http_request *request = http_exchange_request(x);
    struct rpc_head head;
    return rpc_head_type(request, false, &head) || rpc_head_type(request, true, &head)
               ? head.codec
               : RPC_CODEC_JSON;
}

static int parse_timeout(const struct http_request *request, struct rpc_head *ret, struct err *err)
{
    struct str text = http_header_get(&request->headers, "connect-timeout-ms");
    uint64_t ms;
    if (!text.p)
        return 0;
    if (text.len > 10 || str_to_u64(text, UINT64_C(9999999999), &ms) < 0)
        return err_set(err, ERR_INVALID, 0, "Connect-Timeout-Ms must be 1 to 10 digits, not '%.*s'",
                       text.len > 32 ? 32 : (int)text.len, text.p);
    ret->timeout_ns = (int64_t)ms * CLOCK_MS;
    return 0;
}

static void parse_keepalive(const struct http_request *request, struct rpc_head *ret)
{
    struct str text = http_header_get(&request->headers, "keepalive-ping-interval");
    uint64_t seconds;
    /* A hint: nonsense gives the default, as upstream does. */
    if (!text.p || str_to_u64(text, 86400, &seconds) < 0 || seconds == 0)
        seconds = RPC_KEEPALIVE_DEFAULT_S;
    ret->keepalive_ns = (int64_t)seconds * CLOCK_S;
}

static int parse_user(const struct http_request *request, struct rpc_head *ret, struct err *err)
{
    struct str rest = http_header_get(&request->headers, "authorization"), scheme;
    if (!rest.p || !str_split(&rest, ' ', &scheme))
        return 0;
    if (!str_ieqz(scheme, "basic") || !rest.p)
        return err_set(err, ERR_UNAUTHENTICATED, 0, "Authorization must be Basic");
    struct str text = str_trim(rest);
    if (text.len / 4 * 3 + 3 > sizeof ret->user_text)
        return err_set(err, ERR_UNAUTHENTICATED, 0, "Authorization is too long");
    ssize_t n = base64_decode(text, ret->user_text);
    if (n < 0)
        return err_set(err, ERR_UNAUTHENTICATED, 0, "Authorization is not base64");
    ret->user_given = true;
    ret->user_len = (uint16_t)str_find((struct str){ret->user_text, (size_t)n}, ':');
    return 0;
}

static int parse_encoding(const struct http_request *request, const char *field, struct err *err)
{
    struct str text = http_header_get(&request->headers, field);
    if (!text.p || text.len == 0 || str_ieqz(text, "identity"))
        return 0;
    return err_set(err, ERR_UNIMPLEMENTED, 0,
                   "unknown compression '%.*s': supported encodings are identity",
                   text.len > 32 ? 32 : (int)text.len, text.p);
}

int rpc_head_parse(const struct http_request *request, struct rpc_head *ret, struct err *err)
{
    struct str version = http_header_get(&request->headers, "connect-protocol-version");
    if (version.p && !str_eqz(version, "1"))
        return err_set(err, ERR_INVALID, 0, "Connect-Protocol-Version must be 1, not '%.*s'",
                       version.len > 32 ? 32 : (int)version.len, version.p);
    int rc = parse_encoding(request,
                            ret->streaming ? "connect-content-encoding" : "content-encoding", err);
    if (rc == 0)
        rc = parse_timeout(request, ret, err);
    if (rc == 0 && ret->grpc_web)
        rc = grpc_web_head(request, ret, err);
    if (rc == 0)
        rc = parse_user(request, ret, err);
    parse_keepalive(request, ret);
    return rc;
}

int rpc_decode(struct str body, json_t **ret, struct err *err)
{
    json_error_t error;
    json_t *value = json_loadb(body.p, body.len, 0, &error);
    if (!value) {
        const char *text = json_error_code(&error) == json_error_null_character
                               ? "a NUL character in a string"
                               : error.text;
        return err_set(err, ERR_INVALID, 0, "invalid JSON at byte %d: %s", error.position, text);
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return err_set(err, ERR_INVALID, 0, "a message must be a JSON object");
    }
    *ret = value;
    return 0;
}

int rpc_decode_request(const struct http_exchange *x, const struct rpc_head *head, struct str body,
                       json_t **ret, struct err *err)
{
    const struct proto_method *method =
        head->codec == RPC_CODEC_PROTO ? proto_method(http_exchange_request(x)->path) : NULL;
    return method ? proto_decode(method->request, body, ret, err) : rpc_decode(body, ret, err);
}

/* ---- response ---- */

int rpc_encode_text(const struct http_exchange *x, struct str json, struct buf *out)
{
    const struct proto_method *method = proto_method(http_exchange_request(x)->path);
    return method ? proto_encode_text(method->response, json, out) : -EINVAL;
}

json_t *rpc_error_json(const struct err *err)
{
    return json_pack("{s:s, s:o}", "code", err_connect_code(err->code), "message",
                     jsonx_lossy_text(str_from(err->message)));
}

static void respond_text(struct http_exchange *x, struct str json)
{
    if (is_grpc_web(x))
        grpc_web_respond(x, RPC_CODEC_JSON, json);
    else
        http_respond(x, 200, unary_json, json);
}

static void respond_binary(struct http_exchange *x, const struct buf *body, int rc)
{
    struct rpc_head head = {.codec = RPC_CODEC_PROTO, .grpc_web = is_grpc_web(x)};
    struct err err;
    if (rc < 0) {
        err_set(&err, ERR_INTERNAL, -rc, "encode the answer");
        rpc_respond_error(x, &head, &err);
    } else if (head.grpc_web) {
        grpc_web_respond(x, RPC_CODEC_PROTO, buf_str(body));
    } else {
        http_respond(x, 200, rpc_content_type(RPC_CODEC_PROTO, false), buf_str(body));
    }
}

void rpc_respond_text(struct http_exchange *x, struct str json)
{
    _cleanup_(buf_done) struct buf body;
    buf_init(&body, ANSWER_MAX);
    if (rpc_codec_of(x) == RPC_CODEC_JSON)
        respond_text(x, json);
    else
        respond_binary(x, &body, rpc_encode_text(x, json, &body));
}

void rpc_respond(struct http_exchange *x, const json_t *out)
{
    _cleanup_(buf_done) struct buf body;
    buf_init(&body, ANSWER_MAX);
    if (rpc_codec_of(x) == RPC_CODEC_PROTO) {
        const struct proto_method *method = proto_method(http_exchange_request(x)->path);
        respond_binary(x, &body, out && method ? proto_encode(method->response, out, &body) : 0);
    } else {
        _cleanup_free_ char *text = out ? json_dumps(out, JSON_COMPACT) : NULL;
        respond_text(x, text ? str_from(text) : STR("{}"));
    }
}

void rpc_respond_unsupported(struct http_exchange *x, bool streaming)
{
    char types[80];
    snprintf(types, sizeof types, "%s, %s", rpc_content_type(RPC_CODEC_JSON, streaming),
             rpc_content_type(RPC_CODEC_PROTO, streaming));
    http_respond_header(x, "Accept-Post", types);
    http_respond_error(x, 415, "unsupported content type: this method takes %s", types);
}

void rpc_respond_error(struct http_exchange *x, const struct rpc_head *head, const struct err *err)
{
    if (head->grpc_web) {
        grpc_web_respond_error(x, head->codec, err);
        return;
    }
    json_t *error = rpc_error_json(err);
    if (!head->streaming) {
        _cleanup_free_ char *message = json_dumps(error, JSON_COMPACT);
        http_respond(x, err_http_status(err->code), unary_json,
                     message ? str_from(message) : STR("{}"));
        json_decref(error);
        return;
    }
    json_t *end = json_pack("{s:o}", "error", error);
    _cleanup_free_ char *text = json_dumps(end, JSON_COMPACT);
    json_decref(end);
    struct buf frame;
    buf_init(&frame, 64 << 10);
    if (envelope_append(&frame, ENVELOPE_END, str_from(text)) == 0)
        http_respond(x, 200, rpc_content_type(head->codec, true), buf_str(&frame));
    buf_done(&frame);
}
