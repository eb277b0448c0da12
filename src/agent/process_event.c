/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessEvents as envelopes ready to be sent. */
#include "agent/process_event.h"

#include <errno.h>
#include <stdio.h>

#include "base/base64.h"
#include "rpc/envelope.h"
#include "rpc/proto.h"

/* ---- JSON ---- */

static int append(struct buf *out, const char *json, size_t len)
{
    return envelope_append(out, 0, (struct str){json, len});
}

static int json_start(struct buf *out, pid_t pid)
{
    char json[64];
    int n = snprintf(json, sizeof json, "{\"event\":{\"start\":{\"pid\":%d}}}", (int)pid);
    return append(out, json, (size_t)n);
}

/* Faster than printf, for every piece of output has one. */
static char *put_number(char *to, uint64_t n)
{
    char digits[20];
    int count = 0;
    do
        digits[count++] = (char)('0' + n % 10);
    while (n /= 10);
    while (count)
        *to++ = digits[--count];
    return to;
}

static size_t data_tail(char *text, uint64_t offset, uint64_t missed)
{
    static const struct str offset_name = {"\",\"offset\":\"", 12};
    static const struct str missed_name = {"\",\"missed\":\"", 12};
    char *to = text;
    memcpy(to, offset_name.p, offset_name.len);
    to = put_number(to + offset_name.len, offset);
    if (missed) {
        memcpy(to, missed_name.p, missed_name.len);
        to = put_number(to + missed_name.len, missed);
    }
    memcpy(to, "\"}}}", 4);
    return (size_t)(to + 4 - text);
}

static int json_data(struct buf *out, const struct spool_chunk *chunk, uint64_t offset,
                     uint64_t missed)
{
    static const struct str heads[] = {
        [SPOOL_STDOUT] = {"{\"event\":{\"data\":{\"stdout\":\"", 28},
        [SPOOL_STDERR] = {"{\"event\":{\"data\":{\"stderr\":\"", 28},
        [SPOOL_PTY] = {"{\"event\":{\"data\":{\"pty\":\"", 25},
    };
    struct str head = heads[chunk->kind];
    char text[96];
    struct str tail = {text, data_tail(text, offset, missed)};
    size_t len = head.len + BASE64_SIZE(chunk->len) + tail.len;
    char *to = buf_reserve(out, ENVELOPE_HEAD + len);
    if (!to)
        return -ENOBUFS;
    envelope_head(0, (uint32_t)len, (unsigned char *)to);
    to += ENVELOPE_HEAD;
    memcpy(to, head.p, head.len);
    to += head.len;
    to += base64_encode(chunk->p, chunk->len, to);
    memcpy(to, tail.p, tail.len);
    buf_added(out, ENVELOPE_HEAD + len);
    return 0;
}

static int json_end(struct buf *out, const struct process_end *end)
{
    char json[480]; /* the texts are our own, nothing in them needs an escape */
    int n = snprintf(json, sizeof json, "{\"event\":{\"end\":{");
    if (end->exit_code)
        n += snprintf(json + n, sizeof json - (size_t)n, "\"exitCode\":%d,", end->exit_code);
    if (end->exited)
        n += snprintf(json + n, sizeof json - (size_t)n, "\"exited\":true,");
    n += snprintf(json + n, sizeof json - (size_t)n, "\"status\":\"%s\"", end->status);
    if (end->error[0])
        n += snprintf(json + n, sizeof json - (size_t)n, ",\"error\":\"%s\"", end->error);
    n += snprintf(json + n, sizeof json - (size_t)n, "}}}");
    return append(out, json, (size_t)n);
}

/* ---- binary (numbers of fields: protocol.md 4.4; of extensions: docs/wire.md) ---- */

enum { START = 1, DATA = 2, END = 3, OFFSET = 1000, MISSED = 1001 };

static size_t put_field(char *to, uint32_t field, uint64_t n)
{
    size_t len = proto_put_key(to, field, PROTO_VARINT);
    return len + proto_put_varint(to + len, n);
}

static size_t put_head(char *to, uint32_t field, size_t n)
{
    size_t len = proto_put_key(to, field, PROTO_BYTES);
    return len + proto_put_varint(to + len, n);
}

/* An envelope of event 1 { member { head bytes tail } }. */
static int binary_event(struct buf *out, uint32_t member, struct str head, struct str bytes,
                        struct str tail)
{
    char inner[16], outer[16];
    size_t inner_len = head.len + bytes.len + tail.len;
    size_t inner_head = put_head(inner, member, inner_len);
    size_t outer_head = put_head(outer, 1, inner_head + inner_len);
    size_t len = outer_head + inner_head + inner_len;
    char *to = buf_reserve(out, ENVELOPE_HEAD + len);
    if (!to)
        return -ENOBUFS;
    envelope_head(0, (uint32_t)len, (unsigned char *)to);
    to += ENVELOPE_HEAD;
    const struct str parts[] = {{outer, outer_head}, {inner, inner_head}, head, bytes, tail};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        memcpy(to, parts[i].p, parts[i].len);
        to += parts[i].len;
    }
    buf_added(out, ENVELOPE_HEAD + len);
    return 0;
}

static int binary_start(struct buf *out, pid_t pid)
{
    char pid_field[2 * PROTO_VARINT_MAX];
    struct str head = {pid_field, put_field(pid_field, 1, (uint64_t)pid)};
    return binary_event(out, START, head, STR(""), STR(""));
}

static int binary_data(struct buf *out, const struct spool_chunk *chunk, uint64_t offset,
                       uint64_t missed)
{
    static const uint32_t members[] = {[SPOOL_STDOUT] = 1, [SPOOL_STDERR] = 2, [SPOOL_PTY] = 3};
    char head[2 * PROTO_VARINT_MAX], tail[4 * PROTO_VARINT_MAX];
    size_t head_len = put_head(head, members[chunk->kind], chunk->len);
    size_t tail_len = put_field(tail, OFFSET, offset);
    if (missed)
        tail_len += put_field(tail + tail_len, MISSED, missed);
    return binary_event(out, DATA, (struct str){head, head_len}, (struct str){chunk->p, chunk->len},
                        (struct str){tail, tail_len});
}

static int binary_end(struct buf *out, const struct process_end *end)
{
    char bytes[sizeof end->status + sizeof end->error + 64];
    struct str status = str_from(end->status), error = str_from(end->error);
    size_t n = 0;
    if (end->exit_code) /* sint32: zigzag */
        n += put_field(bytes, 1, (uint32_t)(end->exit_code * 2) ^ (end->exit_code < 0 ? ~0U : 0));
    if (end->exited)
        n += put_field(bytes + n, 2, 1);
    n += put_head(bytes + n, 3, status.len);
    memcpy(bytes + n, status.p, status.len);
    n += status.len;
    if (error.len) {
        n += put_head(bytes + n, 4, error.len);
        memcpy(bytes + n, error.p, error.len);
        n += error.len;
    }
    return binary_event(out, END, (struct str){bytes, n}, STR(""), STR(""));
}

/* ---- either ---- */

int process_event_start(struct buf *out, enum rpc_codec codec, pid_t pid)
{
    return codec == RPC_CODEC_JSON ? json_start(out, pid) : binary_start(out, pid);
}

int process_event_data(struct buf *out, enum rpc_codec codec, const struct spool_chunk *chunk,
                       uint64_t offset, uint64_t missed)
{
    return codec == RPC_CODEC_JSON ? json_data(out, chunk, offset, missed)
                                   : binary_data(out, chunk, offset, missed);
}

int process_event_end(struct buf *out, enum rpc_codec codec, const struct process_end *end)
{
    return codec == RPC_CODEC_JSON ? json_end(out, end) : binary_end(out, end);
}
