/* SPDX-License-Identifier: Apache-2.0 */
/* What init keeps for the agent. */
#include "agent/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

struct message {
    uint32_t slot;
    uint32_t hold; /* places whose descriptors come along, in order */
    uint32_t drop; /* places to be closed */
};

struct keep {
    struct arena *arena;
    int transfer[2];
    int link;       /* init's end, in the agent its own */
    int agent_link; /* between keep_link_open and the fork */
    /* One more than the descriptor; 0: none. Untouched pages of it cost nothing. */
    int fds[KEEP_SLOTS][KEEP_PLACES];
};

struct keep *keep_new_alone(void)
{
    struct keep *k = xcalloc(1, sizeof *k);
    k->link = k->agent_link = -1;
    k->arena = arena_new();
    if (!k->arena || pipe2(k->transfer, O_CLOEXEC | O_NONBLOCK) < 0) {
        if (k->arena)
            arena_free(k->arena);
        free(k);
        return NULL;
    }
    return k;
}

struct keep *keep_new(void)
{
    return keep_new_alone();
}

void keep_free(struct keep *k)
{
    arena_free(k->arena);
    close(k->transfer[0]);
    close(k->transfer[1]);
    fd_closep(&k->link);
    free(k);
}

struct arena *keep_arena(const struct keep *k)
{
    return k->arena;
}

/* ---- init's side ---- */

int keep_link_open(struct keep *k)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    k->link = ends[0];
    k->agent_link = ends[1];
    return 0;
}

void keep_became_agent(struct keep *k)
{
    fd_closep(&k->link);
    k->link = TAKE_FD(k->agent_link);
}

void keep_became_parent(struct keep *k)
{
    fd_closep(&k->agent_link);
}

int keep_link(const struct keep *k)
{
    return k->link;
}

static void let_go(struct keep *k, uint32_t slot, int place)
{
    int fd = k->fds[slot][place] - 1;
    k->fds[slot][place] = 0;
    if (fd >= 0)
        close(fd);
}

static void carry_out(struct keep *k, const struct message *m, const int *fds, size_t count)
{
    size_t next = 0;
    for (int place = 0; place < KEEP_PLACES; place++) {
        if (m->slot < KEEP_SLOTS && ((m->drop | m->hold) >> place & 1))
            let_go(k, m->slot, place);
        if (m->slot < KEEP_SLOTS && (m->hold >> place & 1) && next < count)
            k->fds[m->slot][place] = fds[next++] + 1;
    }
    while (next < count)
        close(fds[next++]);
}

void keep_serve(struct keep *k)
{
    struct message m;
    for (;;) {
        int fds[FD_PASS_MAX];
        size_t count = FD_PASS_MAX;
        char probe;
        /* Looks first: fd_receive waits. */
        if (recv(k->link, &probe, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
            return;
        ssize_t n = fd_receive(k->link, &m, sizeof m, fds, &count);
        if (n == (ssize_t)sizeof m)
            carry_out(k, &m, fds, count);
        else if (n > 0)
            for (size_t i = 0; i < count; i++)
                close(fds[i]);
    }
}

void keep_link_close(struct keep *k)
{
    fd_closep(&k->link);
}

void keep_ended(struct keep *k, const siginfo_t *info)
{
    struct arena_life *lives;
    uint32_t end = arena_lives(k->arena, &lives);
    for (uint32_t slot = 0; slot < end; slot++) {
        struct arena_life *life = &lives[slot];
        if (life->pid != info->si_pid || life->ended)
            continue;
        life->code = info->si_code;
        life->status = info->si_status;
        ARENA_STEP();
        __atomic_store_n(&life->ended, 1, __ATOMIC_RELEASE);
        /* Full or gone is fine: one byte on the way is enough, and a new agent looks anyway. */
        send(k->link, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
    }
}

/* ---- from program to program ---- */

struct packed {
    int32_t arena, transfer[2], link;
};

struct packed_fd {
    uint32_t slot, place;
    int32_t fd;
};

static int pass_on(int fd)
{
    fcntl(fd, F_SETFD, 0);
    return fd;
}

static int take_over(int fd)
{
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

/* The slots that have descriptors: those in use, and that of the spool file. */
static uint32_t next_slot(const struct keep *k, uint32_t slot)
{
    return slot + 1 < arena_slots_end(k->arena) ? slot + 1 : KEEP_DISK;
}

int keep_pack(struct keep *k, struct buf *out)
{
    const struct packed head = {.arena = pass_on(arena_fd(k->arena)),
                                .transfer = {pass_on(k->transfer[0]), pass_on(k->transfer[1])},
                                .link = pass_on(k->link)};
    int rc = buf_append(out, &head, sizeof head);
    uint32_t slot = arena_slots_end(k->arena) ? 0 : KEEP_DISK;
    for (; rc == 0 && slot < KEEP_SLOTS; slot = slot == KEEP_DISK ? KEEP_SLOTS : next_slot(k, slot))
        for (uint32_t place = 0; rc == 0 && place < KEEP_PLACES; place++) {
            int fd = k->fds[slot][place] - 1;
            const struct packed_fd entry = {slot, place, fd};
            if (fd >= 0)
                rc = buf_append(out, &entry, sizeof entry);
            if (fd >= 0)
                pass_on(fd);
        }
    return rc;
}

struct keep *keep_unpack(struct str text)
{
    struct packed head;
    if (text.len < sizeof head || (text.len - sizeof head) % sizeof(struct packed_fd))
        return NULL;
    memcpy(&head, text.p, sizeof head);
    struct keep *k = xcalloc(1, sizeof *k);
    k->agent_link = -1;
    k->link = take_over(head.link);
    k->transfer[0] = take_over(head.transfer[0]);
    k->transfer[1] = take_over(head.transfer[1]);
    k->arena = arena_from(take_over(head.arena));
    for (size_t at = sizeof head; at < text.len; at += sizeof(struct packed_fd)) {
        struct packed_fd entry;
        memcpy(&entry, text.p + at, sizeof entry);
        if (entry.slot < KEEP_SLOTS && entry.place < KEEP_PLACES)
            k->fds[entry.slot][entry.place] = take_over(entry.fd) + 1;
    }
    if (k->arena)
        return k;
    free(k);
    return NULL;
}

/* ---- the agent's side ---- */

static void tell(struct keep *k, const struct message *m, const int *fds, size_t count)
{
    if (k->link >= 0)
        fd_send(k->link, m, sizeof *m, fds, count);
}

void keep_hold(struct keep *k, uint32_t slot, const int fds[KEEP_PLACES])
{
    struct message m = {.slot = slot};
    int list[KEEP_PLACES];
    size_t count = 0;
    for (int place = 0; place < KEEP_PLACES; place++) {
        if (fds[place] >= 0) {
            m.hold |= 1U << place;
            list[count++] = fds[place];
        }
    }
    tell(k, &m, list, count);
}

void keep_drop(struct keep *k, uint32_t slot, unsigned mask)
{
    const struct message m = {.slot = slot, .drop = mask};
    tell(k, &m, NULL, 0);
}

int keep_take(struct keep *k, uint32_t slot, enum keep_place place)
{
    int fd = k->fds[slot][place] - 1;
    k->fds[slot][place] = 0;
    return fd;
}

void keep_take_end(struct keep *k)
{
    for (uint32_t slot = 0; slot < arena_slots_end(k->arena); slot++)
        for (int place = 0; place < KEEP_PLACES; place++)
            let_go(k, slot, place);
}

int keep_transfer_read(const struct keep *k)
{
    return k->transfer[0];
}

int keep_transfer_write(const struct keep *k)
{
    return k->transfer[1];
}

int keep_news(const struct keep *k)
{
    return k->link;
}

void keep_news_taken(struct keep *k)
{
    char bytes[16];
    while (recv(k->link, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        continue;
}
