/* SPDX-License-Identifier: Apache-2.0 */
/* From a process's pipes into its spool, and from there to its readers. */
#include "agent/process-internal.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/utf8.h"

enum {
    READS_A_TURN = 8, /* then others have their turn */
    FLUSH_MS = 10,    /* how long half a character waits for its other half */
};

/* ---- channels ---- */

int process_channel_open(struct process *p, struct process_channel *c, int fd, enum spool_kind kind)
{
    *c = (struct process_channel){.process = p, .fd = fd, .kind = kind};
    if (fd < 0)
        return 0;
    int rc = uv_poll_init(p->pid_poll.loop, &c->poll, fd);
    if (rc < 0)
        return rc;
    c->poll.data = p;
    p->handles++;
    return 0;
}

void process_channel_close(struct process_channel *c)
{
    if (c->fd < 0)
        return;
    uv_close((uv_handle_t *)&c->poll, process_handle_closed);
    close(c->fd); /* libuv has stopped watching it by now */
    c->fd = -1;
}

/* ---- pipe to spool ---- */

/* Offset that the furthest reader has come to. */
static uint64_t furthest(const struct process *p)
{
    uint64_t offset = 0;
    for (const struct process_reader *r = p->readers; r; r = r->next)
        if (r->cursor.offset > offset)
            offset = r->cursor.offset;
    return offset;
}

static bool may_read(const struct process *p)
{
    return !p->readers || !spool_full(&p->spool) ||
           spool_end(&p->spool) - furthest(p) < spool_capacity(&p->spool) / 2;
}

static void flush_carry(struct process_channel *c)
{
    if (c->carry_len)
        spool_append(&c->process->spool, c->kind, c->carry, c->carry_len);
    c->carry_len = 0;
}

void process_output_flush(struct process *p)
{
    flush_carry(&p->out);
    flush_carry(&p->err);
}

/* Reads one piece. Returns the bytes read; 0 at the end, and -EAGAIN when there is nothing now. */
static ssize_t read_piece(struct process_channel *c, bool *ret_short)
{
    struct spool *spool = &c->process->spool;
    size_t room;
    char *to = spool_reserve(spool, c->kind, &room);
    memcpy(to, c->carry, c->carry_len);
    size_t want = room - c->carry_len;
    ssize_t n = read(c->fd, to + c->carry_len, want);
    if (n <= 0) {
        int os = errno;
        spool_commit(spool, c->kind, 0);
        if (n < 0 && (os == EAGAIN || os == EINTR))
            return -EAGAIN;
        return 0; /* EIO is how a terminal ends */
    }
    *ret_short = (size_t)n < want;
    size_t have = c->carry_len + (size_t)n;
    size_t whole = utf8_whole((struct str){to, have});
    c->carry_len = (uint8_t)(have - whole);
    memcpy(c->carry, to + whole, c->carry_len);
    spool_commit(spool, c->kind, whole);
    return n;
}

static void read_end(struct process_channel *c)
{
    struct process *p = c->process;
    flush_carry(c);
    process_channel_close(c);
    process_wake_readers(p);
    process_settle(p);
}

static void flush_due(uv_timer_t *timer)
{
    struct process *p = timer->data;
    if (!may_read(p))
        return; /* begun anew by process_consumed */
    process_output_flush(p);
    process_wake_readers(p);
}

static void flush_soon(struct process *p)
{
    if (p->out.carry_len || p->err.carry_len)
        uv_timer_start(&p->flush, flush_due, FLUSH_MS, 0);
}

static void channel_ready(uv_poll_t *poll, int status, int events)
{
    struct process *p = poll->data;
    struct process_channel *c = poll == &p->out.poll ? &p->out : &p->err;
    bool was_short = false;
    for (int i = 0; i < READS_A_TURN && !was_short; i++) {
        if (!may_read(p)) {
            p->throttled = true;
            break;
        }
        ssize_t n = read_piece(c, &was_short);
        if (n == 0 || (n < 0 && c->draining)) {
            read_end(c);
            return;
        }
        if (n < 0)
            break;
        if (c->draining && (size_t)n >= c->drain) {
            read_end(c);
            return;
        }
        c->drain -= c->draining ? (size_t)n : 0;
        if (i % 2 || was_short)
            process_wake_readers(p);
    }
    flush_soon(p);
    process_wake_readers(p);
    process_output_watch(p);
}

/* Watches the pipes, or stops watching while the process is held up. */
void process_output_watch(struct process *p)
{
    struct process_channel *channels[] = {&p->out, &p->err};
    for (int i = 0; i < 2; i++) {
        if (channels[i]->fd < 0)
            continue;
        if (p->throttled)
            uv_poll_stop(&channels[i]->poll);
        else if (!uv_is_active((uv_handle_t *)&channels[i]->poll))
            uv_poll_start(&channels[i]->poll, UV_READABLE, channel_ready);
    }
}

/* What a pipe holds when its writer is gone for certain is what is left to read; what others that
 * have inherited it write later is not waited for. */
void process_output_drain(struct process_channel *c)
{
    int left = 0;
    if (c->fd < 0 || c->draining)
        return;
    if (ioctl(c->fd, FIONREAD, &left) < 0 || left <= 0) {
        flush_carry(c);
        process_channel_close(c);
        return;
    }
    c->draining = true;
    c->drain = (size_t)left;
}

/* ---- spool to readers ---- */

static void trim(struct process *p)
{
    uint64_t needed = p->readers ? UINT64_MAX : p->delivered;
    for (const struct process_reader *r = p->readers; r; r = r->next)
        if (r->cursor.offset < needed)
            needed = r->cursor.offset;
    spool_trim(&p->spool, needed);
}

void process_consumed(struct process *p)
{
    trim(p);
    if (p->throttled && may_read(p)) {
        p->throttled = false;
        process_output_watch(p);
        flush_soon(p);
    }
}

void process_wake_readers(struct process *p)
{
    for (struct process_reader *r = p->readers, *next; r; r = next) {
        next = r->next;
        r->wake(r);
    }
}

void process_attach(struct process *p, struct process_reader *reader)
{
    reader->process = p;
    reader->cursor = spool_cursor_at(p->readers ? spool_end(&p->spool) : p->delivered);
    reader->previous = NULL;
    reader->next = p->readers;
    if (p->readers)
        p->readers->previous = reader;
    p->readers = reader;
}

void process_detach(struct process_reader *reader)
{
    struct process *p = reader->process;
    if (reader->next)
        reader->next->previous = reader->previous;
    if (reader->previous)
        reader->previous->next = reader->next;
    else
        p->readers = reader->next;
    if (reader->cursor.offset > p->delivered)
        p->delivered = reader->cursor.offset;
    process_consumed(p);
    process_free_if_unused(p);
}

const struct spool *process_spool(const struct process *p)
{
    return &p->spool;
}
