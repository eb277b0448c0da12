/* SPDX-License-Identifier: Apache-2.0 */
/* The table of processes after the death of an agent: what it had written down, with the descriptors
 * that init has kept. Its children are init's now; init reaps them and says so in the lives. */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/keep.h"
#include "agent/process-internal.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

struct found {
    struct process **by_slot; /* NULL where there is none */
    uint32_t slots;
    struct process **by_order;
    size_t count;
};

/* Reads one record. NULL when there is nothing to go on with; its descriptors are then left to
 * keep_take_end. */
static struct process *load(struct process_table *table, uint32_t slot)
{
    struct process_record *r = arena_record(table->arena, slot);
    struct arena_life *life = arena_life(table->arena, slot);
    struct process_config config;
    if (r->state == PROCESS_NONE)
        return NULL;
    if (life->pid <= 0 || r->state > PROCESS_ENDED ||
        process_record_load(table->arena, slot, &config) < 0) {
        if (r->state != PROCESS_STARTING)
            log_error("a process cannot be found again", "pid=%d", (int)life->pid);
        keep_drop(table->keep, slot, (1U << KEEP_PLACES) - 1);
        process_record_free(table->arena, slot);
        return NULL;
    }
    struct process *p = xcalloc(1, sizeof *p);
    p->table = table;
    p->slot = slot;
    p->record = r;
    p->life = life;
    p->config = config;
    process_count_config(p, &config);
    p->queue_tail = &p->queue;
    p->pid = life->pid;
    p->pidfd = -1;
    p->pty = r->pty;
    p->ended = r->state == PROCESS_ENDED;
    p->adopted = true;
    spool_init(&p->spool, &table->pool, slot, &r->end);
    p->spool.keep = r->keep;
    p->spool.needed = r->delivered;
    if (!p->ended)
        r->state = PROCESS_LIVE;
    return p;
}

static int by_order(const void *a, const void *b)
{
    const struct process *x = *(struct process *const *)a, *y = *(struct process *const *)b;
    return x->record->order < y->record->order ? -1 : x->record->order > y->record->order;
}

static struct spool *spool_of(uint32_t slot, void *arg)
{
    const struct found *found = arg;
    return slot < found->slots && found->by_slot[slot] ? &found->by_slot[slot]->spool : NULL;
}

/* A descriptor of a process that has not ended by the lives is that process's: nobody has let go of
 * the number. So it is asked after the descriptor was opened. */
static int open_pidfd(const struct process *p)
{
    int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (__atomic_load_n(&p->life->ended, __ATOMIC_ACQUIRE))
        fd_closep(&fd);
    return fd;
}

static void resume(struct process *p)
{
    struct keep *keep = p->table->keep;
    int pidfd = open_pidfd(p);
    int out = keep_take(keep, p->slot, KEEP_OUT), err = keep_take(keep, p->slot, KEEP_ERR);
    int in =
        p->pty && out >= 0 ? fcntl(out, F_DUPFD_CLOEXEC, 3) : keep_take(keep, p->slot, KEEP_IN);
    if (pidfd < 0 && !p->life->ended) {
        /* It may be that descriptors ran out; then how it ends will be known, by init's news. */
        log_warning("a process cannot be watched", "pid=%d error=%d", (int)p->pid, errno);
    }
    process_open_handles(p, pidfd, in, out, err);
    process_arm_deadline(p);
}

void process_table_recover(struct process_table *table)
{
    struct arena *arena = table->arena;
    arena_recover(arena);
    struct found found = {.slots = arena_slots_end(arena)};
    if (found.slots == 0) {
        keep_take_end(table->keep);
        return;
    }
    found.by_slot = xcalloc(found.slots, sizeof(struct process *));
    found.by_order = xcalloc(found.slots, sizeof(struct process *));
    table->pool.disk_fd = keep_take(table->keep, KEEP_DISK, KEEP_IN);
    for (uint32_t slot = 0; slot < found.slots; slot++)
        if ((found.by_slot[slot] = load(table, slot)))
            found.by_order[found.count++] = found.by_slot[slot];
    spool_pool_recover(&table->pool, spool_of, &found);
    qsort(found.by_order, found.count, sizeof *found.by_order, by_order);
    for (size_t i = 0; i < found.count; i++) {
        struct process *p = found.by_order[i];
        table->order = p->record->order + 1;
        process_enter(p);
        if (!p->ended)
            resume(p);
    }
    keep_take_end(table->keep);
    process_output_recover(table);
    for (size_t i = 0; i < found.count; i++) {
        if (found.by_order[i]->ended)
            continue;
        process_output_flush_soon(found.by_order[i]);
        process_settle(found.by_order[i]);
    }
    if (table->finished.first)
        process_expiry_start(table);
    log_info("took over from an agent before", "processes=%zu", table->live.count);
    free(found.by_slot);
    free(found.by_order);
}
