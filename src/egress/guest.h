/* SPDX-License-Identifier: Apache-2.0 */
/* The sandboxes whose connections come to the relay: who they are, what names they may reach, what
 * they have open. Found by the address a connection comes from, which the host's rules vouch for. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/str.h"

enum {
    GUEST_SESSIONS_MAX = 1024, /* connections of one sandbox at a time */
    GUEST_QUESTIONS_MAX = 64,  /* its questions to the DNS at a time */
    GUEST_LINES_MAX = 20,      /* refusals logged in a row, for one sandbox */
};

struct guest;
struct guests;
struct session;

struct guest {
    LIST_ENTRY(guest) link;
    struct in_addr address;
    char id[32];
    char *names; /* patterns, each with a NUL behind it */
    size_t names_len;
    bool stale; /* not named yet since the launcher has come back */
    LIST_HEAD(, session) sessions;
    unsigned session_count;
    unsigned questions;
    int64_t lines_ns; /* until when the lines logged are paid for */
    unsigned lines_left_out;
};

struct guests *guests_new(void);
/* Ends all sessions. */
void guests_free(struct guests *guests);
struct guest *guests_find(struct guests *guests, struct in_addr address);
/* New or changed; names are copied. Ends sessions that are no longer allowed, and all of an
 * earlier sandbox with the same address. */
void guests_set(struct guests *guests, struct in_addr address, const char *id, struct str names);
void guests_remove(struct guests *guests, struct in_addr address);
/* The launcher is about to name all there are; and it has. */
void guests_expect(struct guests *guests);
void guests_complete(struct guests *guests);

bool guest_may_reach(const struct guest *guest, const char *name);
/* Logs that a connection or a question of the sandbox was refused, unless it has had many. name may
 * be hostile. */
void guest_refused(struct guest *guest, const char *what, struct str name, const char *why);
