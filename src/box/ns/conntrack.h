/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's table of tracked connections: looking through those of one source, and taking some
 * out. Walks the whole table in the kernel (some milliseconds where hundreds of thousands are
 * tracked): for rare occasions. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

/* An IPv4 connection as its first packet had it; port 0 where the protocol has none. */
struct conntrack_flow {
    struct in_addr from, to;
    struct in_addr answers; /* who answers: another one than `to` after a DNAT */
    uint8_t protocol;
    uint16_t port; /* of the destination */
};

/* Takes out the connections from an address for which wanted is true. sock is a NETLINK_NETFILTER
 * socket in the namespace meant. 0 or -errno. */
int conntrack_remove(int sock, struct in_addr from,
                     bool (*wanted)(void *arg, const struct conntrack_flow *flow), void *arg,
                     struct err *err);
