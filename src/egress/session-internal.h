/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of sessions share. */
#pragma once

#include <sys/queue.h>
#include <uv.h>

#include "base/buf.h"
#include "egress/egress-internal.h"
#include "egress/session.h"
#include "http/relay.h"
#include "http/stream.h"

struct http_side;

enum session_state {
    SESSION_READING, /* what the client wants */
    SESSION_RESOLVING,
    SESSION_CONNECTING,
    SESSION_PASSING,
    SESSION_LINGERING, /* refused or over: the client is to read the last words */
    SESSION_CLOSED,
};

struct session {
    LIST_ENTRY(session) link;
    struct egress *egress;
    struct guest *guest;
    enum session_kind kind;
    enum session_state state;
    struct stream *client, *upstream; /* NULL: not there, or given to the relay */
    struct buf held;                  /* from the client, for upstream */
    char name[HOSTNAME_SIZE];         /* "": not known yet */
    struct resolve_wait wait;
    struct dns_answer answer;
    unsigned next_address;
    uv_timer_t timer;
    struct relay *relay;
    struct http_side *http;
};

/* session.c */
/* The client wants this (normalized) name: looks it up and connects, or refuses. */
void session_want(struct session *s, const char *name);
/* Tells the client why not, as its protocol has it, and the log; ends the session. wanted is what it
 * asked for, maybe hostile. */
void session_refuse(struct session *s, struct str wanted, const char *why);
/* Ends it once the client has read what was written to it. */
void session_linger(struct session *s);
void session_deadline(struct session *s, uint64_t ms);
/* Gives both streams to a relay; left_upstream came from upstream. */
void session_relay(struct session *s, struct buf *left_upstream);

/* tls_session.c */
void tls_session_begin(struct session *s);
void tls_session_connected(struct session *s);
void tls_session_refuse(struct session *s, const char *why);

/* http_session.c */
void http_session_begin(struct session *s);
void http_session_connected(struct session *s);
/* Answers with a status: 403 by policy, otherwise what went wrong. */
void http_session_refuse(struct session *s, const char *why);
void http_session_free(struct http_side *http);
