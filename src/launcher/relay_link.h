/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's end of the socket to the egress relay (egress/message.h), and the sockets that the
 * relay listens on: they are ours, so that its death refuses nobody. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

#include "base/err.h"
#include "box/ns/net.h"
#include "egress/message.h"

struct relay_message;

struct relay_link {
    const char *path; /* NULL: there is no relay */
    int fd;           /* -1: not connected */
    int sockets[EGRESS_SOCKETS];
    struct net_relay at;                /* their ports; zeroes without a relay */
    struct relay_message *first, **end; /* not sent yet */
};

/* For a path of NULL only prepares the struct. The address need not be the host's yet. 0 or negative
 * with err. */
int relay_link_open(struct relay_link *link, const char *path, struct in_addr address, uid_t uid,
                    struct err *err);
void relay_link_close(struct relay_link *link);

/* Connects if it is not, and begins with what holds for all sandboxes; what follows (relay_link_set
 * for all there are, relay_link_complete) is the caller's. False: nobody is there, or there is no
 * relay. */
bool relay_link_connect(struct relay_link *link, const struct in_addr *dns, unsigned dns_count,
                        const struct net_range *opened, unsigned opened_count);
/* Dropped when not connected, since the next connection begins with everything. */
void relay_link_set(struct relay_link *link, struct in_addr address, const char *id,
                    const char *names, size_t names_len);
void relay_link_remove(struct relay_link *link, struct in_addr address);
void relay_link_complete(struct relay_link *link);

/* After poll: sends what waits, notices that the relay has gone. */
void relay_link_step(struct relay_link *link);
short relay_link_events(const struct relay_link *link);
