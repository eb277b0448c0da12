/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessEvents as envelopes ready to be sent. */
#include "agent/process_event.h"

#include <errno.h>
#include <stdio.h>

#include "base/base64.h"
#include "rpc/envelope.h"

static int append(struct buf *out, const char *json, size_t len)
{
    return envelope_append(out, 0, (struct str){json, len});
}

int process_event_start(struct buf *out, pid_t pid)
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

int process_event_data(struct buf *out, const struct spool_chunk *chunk, uint64_t offset,
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

int process_event_end(struct buf *out, const struct process_end *end)
{
    char json[320]; /* the status is our own text, nothing in it needs an escape */
    int n = snprintf(json, sizeof json, "{\"event\":{\"end\":{");
    if (end->exit_code)
        n += snprintf(json + n, sizeof json - (size_t)n, "\"exitCode\":%d,", end->exit_code);
    if (end->exited)
        n += snprintf(json + n, sizeof json - (size_t)n, "\"exited\":true,");
    n += snprintf(json + n, sizeof json - (size_t)n, "\"status\":\"%s\"", end->status);
    if (!end->exited || end->exit_code)
        n += snprintf(json + n, sizeof json - (size_t)n, ",\"error\":\"%s\"", end->status);
    n += snprintf(json + n, sizeof json - (size_t)n, "}}}");
    return append(out, json, (size_t)n);
}
