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

int process_event_data(struct buf *out, const struct spool_chunk *chunk)
{
    static const struct str heads[] = {
        [SPOOL_STDOUT] = {"{\"event\":{\"data\":{\"stdout\":\"", 28},
        [SPOOL_STDERR] = {"{\"event\":{\"data\":{\"stderr\":\"", 28},
        [SPOOL_PTY] = {"{\"event\":{\"data\":{\"pty\":\"", 25},
    };
    static const struct str tail = {"\"}}}", 4};
    struct str head = heads[chunk->kind];
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
