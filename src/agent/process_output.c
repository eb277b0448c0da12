/* SPDX-License-Identifier: Apache-2.0 */
/* From a process's pipes into its spool, and from there to its readers. */
#include "agent/process-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/keep.h"
#include "base/utf8.h"

enum {
    READS_A_TURN = 8,    /* then others have their turn */
    FLUSH_MS = 10,       /* how long half a character waits for its other half */
    TERMINAL_MAX = 4096, /* read from a terminal at once; the kernel hardly ever has more */
    TERMINAL_UNREAD = 0xff,
};

/* ---- channels ---- */

int process_channel_open(struct process *p, struct process_channel *c, int fd, enum spool_kind kind)
{
    *c = (struct process_channel){.process = p, .fd = fd, .kind = kind};
    c->carry = &p->record->carry[c == &p->err];
    if (fd < 0)
        return 0;
    int rc = uv_poll_init(p->table->loop, &c->poll, fd);
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
    process_pace_forget(c);
    uv_close((uv_handle_t *)&c->poll, process_handle_closed);
    close(c->fd); /* libuv has stopped watching it by now */
    c->fd = -1;
}

/* ---- pipe to spool ---- */

/* What is under way between a pipe and the spool, in the arena: an agent may die at any instruction,
 * and the bytes that a read has taken out of the pipe must not die with it.
 *
 * From a pipe: its bytes are first moved, by the kernel and at once, to a pipe of our own that init
 * holds too, and read from there into the spool's memory. Nobody else writes to that one, so what it
 * lacks of `count` is what the read has taken. From a terminal, whose bytes cannot be moved like
 * that: the memory is filled beforehand with a byte that no text has, and what is different
 * afterwards has been read.
 *
 * The spool's end moves last in a commit, so if it is still where it was, the commit is made anew. */
struct reading {
    uint32_t from; /* enum reading_from, written last */
    uint32_t slot;
    uint32_t err; /* the channel: standard error */
    uint32_t count;
    uint64_t place, end;
    struct process_carry carry;
};
_Static_assert(sizeof(struct reading) <= (size_t)ARENA_JOURNAL, "the journal has room");

enum reading_from { READING_NOTHING, READING_MOVING, READING_MOVED, READING_TERMINAL };

static void flush_carry(struct process_channel *c)
{
    if (c->carry->len)
        spool_append(&c->process->spool, c->kind, c->carry->bytes, c->carry->len);
    c->carry->len = 0;
}

void process_output_flush(struct process *p)
{
    flush_carry(&p->out);
    flush_carry(&p->err);
}

static void begin_reading(struct process_channel *c, enum reading_from from)
{
    struct process *p = c->process;
    struct reading *reading = arena_journal(p->table->arena);
    reading->slot = p->slot;
    reading->err = c == &p->err;
    reading->place = spool_place(&p->spool);
    reading->end = spool_end(&p->spool);
    reading->carry = *c->carry;
    ARENA_STEP();
    reading->from = from;
    ARENA_STEP();
}

/* Makes n bytes that were read behind the carried ones at `to` part of the spool. */
static void commit(struct process_channel *c, char *to, size_t n)
{
    struct reading *reading = arena_journal(c->process->table->arena);
    struct process_carry *carry = c->carry;
    memcpy(to, carry->bytes, carry->len);
    size_t have = carry->len + n, whole = utf8_whole((struct str){to, have});
    struct process_carry rest = {.len = (uint8_t)(have - whole)};
    memcpy(rest.bytes, to + whole, rest.len);
    *carry = rest;
    ARENA_STEP();
    spool_commit(&c->process->spool, c->kind, whole);
    ARENA_STEP();
    reading->from = READING_NOTHING;
}

/* All of n bytes that are in the pipe between. One read need not do: what a process has written in
 * packets (O_DIRECT) comes a packet at a time, and what stayed would be taken for another process's. */
static size_t read_moved(const struct keep *keep, char *to, size_t n)
{
    size_t have = 0;
    while (have < n) {
        ssize_t got = read(keep_transfer_read(keep), to + have, n - have);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            break;
        have += got > 0 ? (size_t)got : 0;
    }
    return have;
}

/* Each reads up to `room` bytes to `to`, with the journal open when there were any. */
static ssize_t read_pipe(struct process_channel *c, char *to, size_t room)
{
    struct keep *keep = c->process->table->keep;
    struct reading *reading = arena_journal(c->process->table->arena);
    begin_reading(c, READING_MOVING);
    ssize_t moved = splice(c->fd, NULL, keep_transfer_write(keep), NULL, room, SPLICE_F_NONBLOCK);
    if (moved <= 0)
        return moved < 0 ? -errno : 0;
    reading->count = (uint32_t)moved;
    ARENA_STEP();
    reading->from = READING_MOVED;
    return (ssize_t)read_moved(keep, to, (size_t)moved);
}

static ssize_t read_terminal(struct process_channel *c, char *to, size_t room)
{
    struct reading *reading = arena_journal(c->process->table->arena);
    if (room > TERMINAL_MAX)
        room = TERMINAL_MAX;
    memset(to, TERMINAL_UNREAD, room);
    reading->count = (uint32_t)room;
    begin_reading(c, READING_TERMINAL);
    ssize_t n = read(c->fd, to, room);
    return n < 0 ? -errno : n;
}

/* Reads one piece. Returns the bytes read; 0 at the end, and -EAGAIN when there is nothing now. */
static ssize_t read_piece(struct process_channel *c, bool *ret_short)
{
    struct spool *spool = &c->process->spool;
    struct reading *reading = arena_journal(c->process->table->arena);
    size_t room;
    char *to = spool_reserve(spool, c->kind, &room);
    if (!to)
        return -EAGAIN;
    size_t want = room - c->carry->len;
    ssize_t n = c->kind == SPOOL_PTY ? read_terminal(c, to + c->carry->len, want)
                                     : read_pipe(c, to + c->carry->len, want);
    if (n > 0) {
        *ret_short = (size_t)n < want;
        commit(c, to, (size_t)n);
        return n;
    }
    reading->from = READING_NOTHING;
    spool_commit(spool, c->kind, 0);
    return n == -EAGAIN || n == -EINTR ? -EAGAIN : 0; /* EIO is how a terminal ends */
}

/* ---- waiting for readers ---- */

/* Whether reading more would take from the furthest reader what it has not got, though it reads. */
static bool must_wait(const struct process *p)
{
    uint64_t at_stake = p->readers ? spool_at_stake(&p->spool) : 0;
    if (at_stake <= p->record->delivered)
        return false;
    return uv_now(p->table->loop) - p->taken_at < p->table->hold_ms;
}

static void go_on(struct process *p)
{
    p->held = false;
    uv_timer_stop(&p->hold);
    process_output_watch(p);
}

static void hold_due(uv_timer_t *timer)
{
    go_on(timer->data);
}

static void hold(struct process *p)
{
    uint64_t waited = uv_now(p->table->loop) - p->taken_at;
    p->held = true;
    uv_timer_start(&p->hold, hold_due, p->table->hold_ms - waited, 0);
    process_output_watch(p);
}

static void read_end(struct process_channel *c)
{
    struct process *p = c->process;
    flush_carry(c);
    process_channel_close(c);
    process_wake_readers(p);
    process_settle(p);
}

/* The process has paused inside a character, or it is us who come late, and the rest is there. */
static void flush_due(uv_timer_t *timer)
{
    struct process *p = timer->data;
    struct process_channel *channels[] = {&p->out, &p->err};
    for (int i = 0; i < 2; i++) {
        struct process_channel *c = channels[i];
        int left = 0;
        if (!c->carry->len || p->held)
            continue;
        if (c->fd >= 0 && ioctl(c->fd, FIONREAD, &left) == 0 && left > 0)
            process_channel_turn(c);
        else
            flush_carry(c);
    }
    process_wake_readers(p);
}

void process_output_flush_soon(struct process *p)
{
    if (p->out.carry->len || p->err.carry->len)
        uv_timer_start(&p->flush, flush_due, FLUSH_MS, 0);
}

static void channel_ready(uv_poll_t *poll, int status, int events)
{
    struct process *p = poll->data;
    process_channel_turn(poll == &p->out.poll ? &p->out : &p->err);
}

static void watch(struct process_channel *c)
{
    if (c->fd >= 0 && c->process->held)
        uv_poll_stop(&c->poll);
    else if (c->fd >= 0 && !c->resting)
        uv_poll_start(&c->poll, UV_READABLE, channel_ready);
}

void process_channel_turn(struct process_channel *c)
{
    struct process *p = c->process;
    bool was_short = false;
    size_t came = 0;
    for (int i = 0; i < READS_A_TURN && !was_short; i++) {
        if (must_wait(p)) {
            hold(p);
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
        came += (size_t)n;
        if (i % 2 || was_short)
            process_wake_readers(p);
    }
    process_output_flush_soon(p);
    if (process_pace_floods(c, came) && !p->held && process_pace_rest(c))
        uv_poll_stop(&c->poll);
    else
        watch(c);
    process_wake_readers(p);
}

void process_output_watch(struct process *p)
{
    watch(&p->out);
    watch(&p->err);
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

/* ---- after the death of an agent ---- */

/* What the interrupted read has put at `to`. */
static size_t found(const struct reading *reading, struct keep *keep, const char *to)
{
    int left = 0;
    size_t n = 0;
    if (reading->from == READING_TERMINAL) {
        for (n = reading->count < TERMINAL_MAX ? reading->count : TERMINAL_MAX;
             n && (unsigned char)to[n - 1] == TERMINAL_UNREAD;)
            n--;
    } else if (reading->from == READING_MOVED) {
        ioctl(keep_transfer_read(keep), FIONREAD, &left);
        n = reading->count > (uint32_t)left ? reading->count - (uint32_t)left : 0;
    }
    return n < SPOOL_CHUNK ? n : SPOOL_CHUNK;
}

static void finish_reading(struct process_channel *c)
{
    struct process_table *table = c->process->table;
    struct reading *reading = arena_journal(table->arena);
    struct spool *spool = &c->process->spool;
    if (spool_end(spool) == reading->end) {
        *c->carry = reading->carry;
        char *to = spool_reserve_again(spool, reading->place);
        size_t n = to ? found(reading, table->keep, to + c->carry->len) : 0;
        if (n)
            commit(c, to, n);
        else if (to)
            spool_commit(spool, c->kind, 0);
    }
    reading->from = READING_NOTHING;
    /* What has been moved but not read. */
    int left = 0;
    while (ioctl(keep_transfer_read(table->keep), FIONREAD, &left) == 0 && left > 0) {
        size_t room;
        char *to = spool_reserve(spool, c->kind, &room);
        if (!to)
            return;
        reading->count = (uint32_t)left;
        begin_reading(c, READING_MOVED);
        size_t n = room - c->carry->len < (size_t)left ? room - c->carry->len : (size_t)left;
        commit(c, to, read_moved(table->keep, to + c->carry->len, n));
    }
}

void process_output_recover(struct process_table *table)
{
    struct reading *reading = arena_journal(table->arena);
    struct process *p = table->live.first;
    char rest[4096];
    while (p && p->slot != reading->slot)
        p = p->next;
    if (reading->from != READING_NOTHING && p)
        finish_reading(reading->err ? &p->err : &p->out);
    reading->from = READING_NOTHING;
    while (read(keep_transfer_read(table->keep), rest, sizeof rest) > 0)
        continue;
}

/* ---- spool to readers ---- */

static void trim(struct process *p)
{
    uint64_t needed = p->record->delivered;
    for (const struct process_reader *r = p->readers; r; r = r->next)
        if (r->taken < needed)
            needed = r->taken;
    spool_trim(&p->spool, needed);
}

void process_consumed(struct process_reader *reader)
{
    struct process *p = reader->process;
    if (reader->taken > p->record->delivered) {
        p->record->delivered = reader->taken;
        p->taken_at = uv_now(p->table->loop);
    }
    trim(p);
    if (p->held && !must_wait(p))
        go_on(p);
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
    p->taken_at = uv_now(p->table->loop);
    reader->cursor = spool_cursor_at(p->record->delivered);
    reader->taken = reader->cursor.offset;
    reader->previous = NULL;
    reader->next = p->readers;
    if (p->readers)
        p->readers->previous = reader;
    p->readers = reader;
}

void process_keep_output(struct process *p)
{
    p->record->keep = p->spool.keep = true;
}

int process_attach_at(struct process *p, struct process_reader *reader, uint64_t offset,
                      struct err *err)
{
    uint64_t end = spool_end(&p->spool);
    if (offset > end)
        return err_set(err, ERR_INVALID, 0, "offset %llu is beyond the output, %llu bytes so far",
                       (unsigned long long)offset, (unsigned long long)end);
    process_keep_output(p);
    process_attach(p, reader);
    reader->cursor = spool_cursor_at(offset);
    reader->taken = offset;
    return 0;
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
    if (p->forgotten)
        process_free_if_unused(p);
    else
        process_consumed(reader);
}

const struct spool *process_spool(const struct process *p)
{
    return &p->spool;
}
