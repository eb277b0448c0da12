/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox may reach, as data: addresses allowed and denied, names allowed. What is never
 * reachable (the host, private ranges and so on) is not said here: see ns/net.h.
 *
 * "Allow" wins over "deny"; what neither names is open. Names count only where all addresses are
 * denied: connections to ports 80 and 443 then go through the egress relay, which looks at the name
 * that is asked for. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
    BOX_RANGES_MAX = 256, /* of each kind, as given */
    BOX_NAMES_BYTES = 8192,
};
#define BOX_NETWORK_FILE "network" /* in the sandbox's directory, beside the record */
enum { BOX_NETWORK_MAX = 32 * 1024 };

/* First and last address, in host byte order. */
struct box_range {
    uint32_t first, last;
};

struct box_network {
    bool deny_all; /* then deny is empty */
    uint32_t allow_count, deny_count, names_len;
    struct box_range allow[BOX_RANGES_MAX]; /* ascending, neither overlapping nor touching */
    struct box_range deny[BOX_RANGES_MAX];
    char names[BOX_NAMES_BYTES]; /* base/hostname.h's patterns, each with a NUL behind it */
};

/* Brings ranges in any order into the form above: sorted and merged, what covers everything as
 * deny_all. */
void box_network_settle(struct box_network *network);
/* Whether it forbids anything at all; NULL does not. */
bool box_network_restricts(const struct box_network *network);
/* Whether nothing at all may be reached. */
bool box_network_closed(const struct box_network *network);

/* As text, "allow=1.2.3.0-1.2.3.255" and so on a line; and back. The file is root's, and still
 * parsed as if it were hostile. 0, -ENOBUFS or -EINVAL. */
int box_network_print(const struct box_network *network, struct buf *out);
int box_network_parse(struct str text, struct box_network *ret);
