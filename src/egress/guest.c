/* SPDX-License-Identifier: Apache-2.0 */
/* The table of sandboxes. */
#include "egress/guest.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/hostname.h"
#include "base/log.h"
#include "base/mem.h"
#include "egress/session.h"

enum { BUCKETS = 1024 };
#define LINE_COST CLOCK_S /* one line a second in the long run */

struct guests {
    LIST_HEAD(guest_list, guest) buckets[BUCKETS];
};

struct guests *guests_new(void)
{
    struct guests *guests = xcalloc(1, sizeof *guests);
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_INIT(&guests->buckets[i]);
    return guests;
}

/* Sandboxes of an instance have every other address. */
static struct guest_list *bucket(struct guests *guests, struct in_addr address)
{
    return &guests->buckets[ntohl(address.s_addr) / 2 % BUCKETS];
}

static void cut_sessions(struct guest *guest, bool only_forbidden)
{
    struct session *session, *next;
    for (session = LIST_FIRST(&guest->sessions); session; session = next) {
        next = session_next(session);
        if (!only_forbidden || !session_allowed(session))
            session_cut(session);
    }
}

static void guest_free(struct guest *guest)
{
    cut_sessions(guest, false);
    LIST_REMOVE(guest, link);
    free(guest->names);
    free(guest);
}

void guests_free(struct guests *guests)
{
    if (!guests)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (!LIST_EMPTY(&guests->buckets[i]))
            guest_free(LIST_FIRST(&guests->buckets[i]));
    free(guests);
}

struct guest *guests_find(struct guests *guests, struct in_addr address)
{
    struct guest *guest;
    LIST_FOREACH(guest, bucket(guests, address), link)
    if (guest->address.s_addr == address.s_addr)
        return guest;
    return NULL;
}

void guests_set(struct guests *guests, struct in_addr address, const char *id, struct str names)
{
    struct guest *guest = guests_find(guests, address);
    if (guest && strcmp(guest->id, id) != 0) {
        guest_free(guest);
        guest = NULL;
    }
    if (!guest) {
        guest = xcalloc(1, sizeof *guest);
        guest->address = address;
        snprintf(guest->id, sizeof guest->id, "%s", id);
        LIST_INIT(&guest->sessions);
        LIST_INSERT_HEAD(bucket(guests, address), guest, link);
    }
    free(guest->names);
    guest->names = xmalloc(names.len + 1);
    memcpy(guest->names, names.p, names.len);
    guest->names_len = names.len;
    guest->stale = false;
    cut_sessions(guest, true);
}

void guests_remove(struct guests *guests, struct in_addr address)
{
    struct guest *guest = guests_find(guests, address);
    if (guest)
        guest_free(guest);
}

void guests_expect(struct guests *guests)
{
    struct guest *guest;
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_FOREACH(guest, &guests->buckets[i], link)
    guest->stale = true;
}

void guests_complete(struct guests *guests)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct guest *guest = LIST_FIRST(&guests->buckets[i]), *next; guest; guest = next) {
            next = LIST_NEXT(guest, link);
            if (guest->stale)
                guest_free(guest);
        }
    }
}

bool guest_may_reach(const struct guest *guest, const char *name)
{
    const struct str wanted = str_from(name);
    for (size_t at = 0; at < guest->names_len; at += strlen(guest->names + at) + 1)
        if (hostname_matches(wanted, str_from(guest->names + at)))
            return true;
    return false;
}

void guest_refused(struct guest *guest, const char *what, struct str name, const char *why)
{
    char clean[HOSTNAME_SIZE];
    size_t len = 0;
    int64_t now = clock_mono_ns();
    if (guest->lines_ns < now)
        guest->lines_ns = now;
    if (guest->lines_ns > now + GUEST_LINES_MAX * LINE_COST) {
        guest->lines_left_out++;
        return;
    }
    guest->lines_ns += LINE_COST;
    for (; len < name.len && len < sizeof clean - 1; len++)
        clean[len] =
            name.p[len] > ' ' && name.p[len] < 0x7f && name.p[len] != '"' ? name.p[len] : '?';
    clean[len] = '\0';
    log_info("egress refused", "sandbox=%s what=%s name=\"%s\" why=\"%s\" left_out=%u", guest->id,
             what, clean, why, guest->lines_left_out);
    guest->lines_left_out = 0;
}
