/* SPDX-License-Identifier: Apache-2.0 */
/* A reader of a process's output at the other end of a stream. */
#include "agent/process_stream.h"

#include <stdio.h>

#include "agent/process_event.h"
#include "base/mem.h"
#include "rpc/stream.h"

enum {
    /* Chunks handed to the socket at once, and how much may be queued before it when it is asked
     * again. Together what a peer that does not read makes us hold outside of the spool. */
    BATCH = 2,
    QUEUE_LOW = 16 << 10,
    OUT_MAX = BATCH * PROCESS_EVENT_SIZE(SPOOL_CHUNK) + 512,
};

struct process_stream {
    struct process_reader reader;
    struct rpc_stream *rpc;
    bool starter;
    bool ended;
};

static void finish(struct process_stream *s, const struct err *err)
{
    char missed[24];
    if (s->reader.cursor.missed) {
        snprintf(missed, sizeof missed, "%llu", (unsigned long long)s->reader.cursor.missed);
        rpc_stream_metadata(s->rpc, "carrel-missed-bytes", missed);
    }
    s->ended = true;
    rpc_stream_end(s->rpc, err);
}

/* Puts up to BATCH chunks into out. False when there was nothing. */
static bool fill(struct process_stream *s, struct buf *out)
{
    struct spool_chunk chunk;
    buf_clear(out);
    for (int i = 0;
         i < BATCH && spool_read(process_spool(s->reader.process), &s->reader.cursor, &chunk);
         i++) {
        if (process_event_data(out, &chunk) < 0)
            break;
        spool_advance(&s->reader.cursor, chunk.len);
    }
    return buf_len(out) > 0;
}

/* Sends what is there as long as the socket takes it. What it does not take at once waits in the
 * spool for `drained`, shared with the other readers. */
static void pump(struct process_stream *s)
{
    struct process *p = s->reader.process;
    struct process_end end;
    struct buf out;
    if (s->ended)
        return;
    buf_init(&out, OUT_MAX);
    while (rpc_stream_queued(s->rpc) < QUEUE_LOW && fill(s, &out))
        rpc_stream_send_raw(s->rpc, buf_ptr(&out), buf_len(&out));
    if (s->starter && process_timed_out(p)) {
        struct err err;
        err_set(&err, ERR_TIMEOUT, 0, "the command's time limit has passed, it was killed");
        finish(s, &err);
    } else if (s->reader.cursor.offset == spool_end(process_spool(p)) && process_ended(p, &end)) {
        buf_clear(&out);
        process_event_end(&out, &end);
        rpc_stream_send_raw(s->rpc, buf_ptr(&out), buf_len(&out));
        finish(s, NULL);
    }
    buf_done(&out);
    process_consumed(p);
}

static void woken(struct process_reader *reader)
{
    pump(CONTAINER_OF(reader, struct process_stream, reader));
}

static void drained(struct rpc_stream *rpc, void *arg)
{
    pump(arg);
}

static void closed(struct rpc_stream *rpc, void *arg)
{
    struct process_stream *s = arg;
    process_detach(&s->reader);
    free(s);
}

static const struct rpc_stream_events events = {.drained = drained, .closed = closed};

void process_stream_open(struct process *p, const struct rpc_request *request, bool starter)
{
    struct process_stream *s = xcalloc(1, sizeof *s);
    struct rpc_head head = *request->head;
    struct buf out;
    if (starter)
        head.timeout_ns = -1; /* it is the process's, and holds when the stream is gone */
    s->starter = starter;
    s->reader.wake = woken;
    s->rpc = rpc_stream_open(request->exchange, &head, PROCESS_EVENT_KEEPALIVE, &events, s);
    process_attach(p, &s->reader);
    buf_init(&out, OUT_MAX);
    process_event_start(&out, process_pid(p));
    rpc_stream_send_raw(s->rpc, buf_ptr(&out), buf_len(&out));
    buf_done(&out);
    pump(s);
}
