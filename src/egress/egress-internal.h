/* SPDX-License-Identifier: Apache-2.0 */
/* The relay as a whole, for its parts. */
#pragma once

#include <uv.h>

#include "egress/guest.h"
#include "egress/message.h"
#include "egress/resolver.h"

struct listener {
    struct egress *egress;
    uv_poll_t *poll; /* own allocation: outlives its socket until the close callback */
    int fd;
    int type; /* enum egress_socket */
};

struct egress {
    uv_loop_t loop;
    int listen_fd; /* for the launcher */
    uv_poll_t listen_poll;
    int link_fd; /* the launcher; -1: away */
    uv_poll_t *link_poll;
    struct listener listeners[EGRESS_SOCKETS];
    struct guests *guests;
    struct resolver *resolver;
    unsigned sessions, sessions_max;
    bool full; /* nothing is accepted */
    bool stopping;
    uv_signal_t signals[2];
};

/* egress.c: a session has ended. */
void egress_session_left(struct egress *egress);

/* link.c: the launcher's side. */
int link_open(struct egress *egress, int listen_fd);
/* Takes in what the launcher has said by now: before anything is decided by what it said before. */
void link_read(struct egress *egress);
void link_close(struct egress *egress);

/* listener.c: the sandboxes' side. */
/* Takes the sockets over, in place of those there were. */
void listeners_set(struct egress *egress, const int fds[EGRESS_SOCKETS]);
void listeners_close(struct egress *egress);
/* According to egress->full. */
void listeners_watch(struct egress *egress);

/* dns_server.c: questions of sandboxes. */
void dns_server_datagrams(struct listener *listener);
void dns_server_connection(struct egress *egress, struct guest *guest, int fd);
