/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC-Web: status numbers, trailers, time limits. */
#include "rpc/grpc_web.h"

#include <errno.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/envelope.h"

enum { TRAILERS = 0x80, ANSWER_MAX = (64 << 20) + 4096, TIMEOUT_DIGITS = 8 };

static const char *const types[] = {
    [RPC_CODEC_JSON] = "application/grpc-web+json",
    [RPC_CODEC_PROTO] = "application/grpc-web+proto",
};

const char *grpc_web_content_type(enum rpc_codec codec)
{
    return types[codec];
}

bool grpc_web_type(struct str type, enum rpc_codec *ret_codec)
{
    *ret_codec = str_ieqz(type, types[RPC_CODEC_JSON]) ? RPC_CODEC_JSON : RPC_CODEC_PROTO;
    return *ret_codec == RPC_CODEC_JSON || str_ieqz(type, types[RPC_CODEC_PROTO]) ||
           str_ieqz(type, "application/grpc-web");
}

/* ---- request ---- */

/* Up to eight digits and a unit (PROTOCOL-HTTP2.md, Timeout). */
static int parse_timeout(struct str text, int64_t *ret)
{
    static const struct {
        char letter;
        int64_t ns;
    } units[] = {{'H', 3600 * CLOCK_S}, {'M', 60 * CLOCK_S}, {'S', CLOCK_S},
                 {'m', CLOCK_MS},       {'u', 1000},         {'n', 1}};
    uint64_t number;
    if (text.len < 2 || text.len > TIMEOUT_DIGITS + 1 ||
        str_to_u64((struct str){text.p, text.len - 1}, 99999999, &number) < 0)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (units[i].letter != text.p[text.len - 1])
            continue;
        int64_t most = INT64_MAX / 2 / units[i].ns;
        *ret = ((int64_t)number > most ? most : (int64_t)number) * units[i].ns;
        return 0;
    }
    return -EINVAL;
}

int grpc_web_head(const struct http_request *request, struct rpc_head *ret, struct err *err)
{
    struct str timeout = http_header_get(&request->headers, "grpc-timeout");
    struct str encoding = http_header_get(&request->headers, "grpc-encoding");
    if (timeout.p && parse_timeout(timeout, &ret->timeout_ns) < 0)
        return err_set(err, ERR_INVALID, 0,
                       "grpc-timeout must be 1 to 8 digits and one of HMSmun, not '%.*s'",
                       timeout.len > 32 ? 32 : (int)timeout.len, timeout.p);
    if (encoding.len && !str_ieqz(encoding, "identity"))
        return err_set(err, ERR_UNIMPLEMENTED, 0,
                       "unknown compression '%.*s': supported encodings are identity",
                       encoding.len > 32 ? 32 : (int)encoding.len, encoding.p);
    return 0;
}

/* ---- answer ---- */

/* Numbers of grpc's statuscodes.md. */
static int status_number(const struct err *err)
{
    static const char *const names[] = {
        "ok",
        "canceled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "aborted",
        "out_of_range",
        "unimplemented",
        "internal",
        "unavailable",
        "data_loss",
        "unauthenticated",
    };
    const char *name = err ? err_connect_code(err->code) : "ok";
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return 2;
}

/* Printable ASCII but '%' as it is, everything else as %XX (PROTOCOL-HTTP2.md, Percent-Encoded). */
static void put_message(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= ' ' && c < 0x7f && c != '%')
            buf_append_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static void put_metadata(struct buf *out, json_t *metadata)
{
    const char *name;
    json_t *values, *value;
    size_t i;
    json_object_foreach (metadata, name, values)
        json_array_foreach (values, i, value)
            buf_printf(out, "%s: %s\r\n", name, json_string_value(value));
}

int grpc_web_end(struct buf *out, const struct err *err, json_t *metadata)
{
    struct buf text;
    buf_init(&text, 64 << 10);
    buf_printf(&text, "grpc-status: %d\r\n", status_number(err));
    if (err) {
        buf_append_z(&text, "grpc-message: ");
        put_message(&text, err->message);
        buf_append_z(&text, "\r\n");
    }
    if (metadata)
        put_metadata(&text, metadata);
    int rc = envelope_append(out, TRAILERS, buf_str(&text));
    buf_done(&text);
    return rc;
}

static void respond(struct http_exchange *x, enum rpc_codec codec, const struct str *message,
                    const struct err *err)
{
    struct buf body;
    buf_init(&body, ANSWER_MAX);
    if (message)
        envelope_append(&body, 0, *message);
    grpc_web_end(&body, err, NULL);
    http_respond(x, 200, types[codec], buf_str(&body));
    buf_done(&body);
}

void grpc_web_respond(struct http_exchange *x, enum rpc_codec codec, struct str message)
{
    respond(x, codec, &message, NULL);
}

void grpc_web_respond_error(struct http_exchange *x, enum rpc_codec codec, const struct err *err)
{
    respond(x, codec, NULL, err);
}
