/* SPDX-License-Identifier: Apache-2.0 */
/* What the launcher tells the egress relay, over a SEQPACKET socket: fixed structs, one of them
 * followed by a byte string. The relay says nothing; a peer that breaks the rules is cut off.
 *
 * A connection begins with EGRESS_HELLO, which brings the listening sockets along (enum
 * egress_socket, in this order) and what holds for all sandboxes. Then come all sandboxes with names,
 * EGRESS_COMPLETE (who was not among them is gone), and changes as they happen. */
#pragma once

#include <stdint.h>

enum { EGRESS_VERSION = 1, EGRESS_RANGES_MAX = 32, EGRESS_DNS_MAX = 3, EGRESS_NAMES_BYTES = 8192 };

enum egress_op {
    EGRESS_HELLO = 1,
    EGRESS_SET, /* a sandbox, new or with other names; connections to names no longer there end */
    EGRESS_REMOVE, /* connections from this address end, later ones are refused */
    EGRESS_COMPLETE,
};

enum egress_socket {
    EGRESS_SOCKET_HTTPS,
    EGRESS_SOCKET_HTTP,
    EGRESS_SOCKET_DNS_UDP,
    EGRESS_SOCKET_DNS_TCP,
    EGRESS_SOCKETS
};

struct egress_range {
    uint32_t address; /* host byte order */
    uint32_t prefix;
};

struct egress_hello {
    uint32_t version; /* EGRESS_VERSION */
    uint32_t op;
    uint32_t dns[EGRESS_DNS_MAX]; /* network byte order; 0: none */
    uint32_t closed_count, opened_count;
    struct egress_range closed[EGRESS_RANGES_MAX]; /* never connected to... */
    struct egress_range opened[EGRESS_RANGES_MAX]; /* ...but for these */
};

/* SET, REMOVE, COMPLETE. */
struct egress_change {
    uint32_t version;
    uint32_t op;
    uint32_t address;   /* of the sandbox, in network byte order */
    uint32_t names_len; /* SET: bytes that follow: patterns, each with a NUL behind it */
    char id[32];
};
