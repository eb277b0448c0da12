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
    FRAMES_MAX = 32, /* queued frames; more wait in the spool */
};

/* A frame that the socket may not have taken whole. */
struct frame {
    uint64_t sent;   /* where it ends in what we have sent */
    uint64_t offset; /* where its output ends */
};

struct process_stream {
    struct process_reader reader;
    struct rpc_stream *rpc;
    enum rpc_codec codec;
    struct frame frames[FRAMES_MAX]; /* oldest first */
    uint32_t frame_count;
    uint64_t told; /* of cursor.missed, in the stream */
    bool starter;
    bool ended;
};

/* Output counts as delivered when the socket has the whole frame it is in. */
static void note_taken(struct process_stream *s)
{
    uint64_t taken = rpc_stream_taken(s->rpc);
    uint32_t done = 0;
    while (done < s->frame_count && s->frames[done].sent <= taken)
        done++;
    if (!done)
        return;
    s->reader.taken = s->frames[done - 1].offset;
    s->frame_count -= done;
    memmove(s->frames, s->frames + done, s->frame_count * sizeof *s->frames);
    process_consumed(&s->reader);
}

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

/* Sends up to BATCH chunks. False when there was nothing. */
static bool send_some(struct process_stream *s, struct buf *out)
{
    struct process_reader *r = &s->reader;
    struct spool_chunk chunk;
    size_t ends[BATCH];
    uint64_t offsets[BATCH];
    int n = 0;
    buf_clear(out);
    while (n < BATCH && spool_read(process_spool(r->process), &r->cursor, &chunk)) {
        if (process_event_data(out, s->codec, &chunk, r->cursor.offset,
                               r->cursor.missed - s->told) < 0)
            break;
        s->told = r->cursor.missed;
        spool_advance(&r->cursor, chunk.len);
        ends[n] = buf_len(out);
        offsets[n++] = r->cursor.offset;
    }
    if (n == 0)
        return false;
    rpc_stream_send_raw(s->rpc, buf_ptr(out), buf_len(out));
    uint64_t sent = rpc_stream_taken(s->rpc) + rpc_stream_queued(s->rpc);
    for (int i = 0; i < n; i++) {
        /* Framing behind the last of them makes this a little late, never early. */
        uint64_t behind = buf_len(out) - ends[i];
        s->frames[s->frame_count++] = (struct frame){sent - behind, offsets[i]};
    }
    return true;
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
    do
        note_taken(s);
    while (rpc_stream_queued(s->rpc) < QUEUE_LOW && s->frame_count + BATCH <= FRAMES_MAX &&
           send_some(s, &out));
    if (s->starter && process_timed_out(p)) {
        struct err err;
        err_set(&err, ERR_TIMEOUT, 0, "the command's time limit has passed, it was killed");
        finish(s, &err);
    } else if (s->reader.cursor.offset == spool_end(process_spool(p)) && process_ended(p, &end)) {
        buf_clear(&out);
        process_event_end(&out, s->codec, &end);
        rpc_stream_send_raw(s->rpc, buf_ptr(&out), buf_len(&out));
        finish(s, NULL);
    }
    buf_done(&out);
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
    note_taken(s);
    process_detach(&s->reader);
    free(s);
}

static const struct rpc_stream_events events = {.drained = drained, .closed = closed};

static int attach(struct process_stream *s, struct process *p, int64_t from, struct err *err)
{
    if (from >= 0)
        return process_attach_at(p, &s->reader, (uint64_t)from, err);
    process_attach(p, &s->reader);
    return 0;
}

void process_stream_open(struct process *p, const struct rpc_request *request, bool starter,
                         int64_t from)
{
    struct process_stream *s = xcalloc(1, sizeof *s);
    struct rpc_head head = *request->head;
    struct err err;
    struct buf out;
    if (attach(s, p, from, &err) < 0) {
        rpc_respond_error(request->exchange, request->head, &err);
        free(s);
        return;
    }
    if (starter)
        head.timeout_ns = -1; /* it is the process's, and holds when the stream is gone */
    s->starter = starter;
    s->codec = head.codec;
    s->reader.wake = woken;
    s->rpc = rpc_stream_open(request->exchange, &head, PROCESS_EVENT_KEEPALIVE, &events, s);
    buf_init(&out, OUT_MAX);
    process_event_start(&out, s->codec, process_pid(p));
    rpc_stream_send_raw(s->rpc, buf_ptr(&out), buf_len(&out));
    buf_done(&out);
    pump(s);
}
