/* SPDX-License-Identifier: Apache-2.0 */
/* The egress relay: a process without privileges that connects sandboxes to names they may reach.
 *
 * The host's rules bring it every connection to ports 80 and 443, and every question to the DNS, of
 * sandboxes with rules on names. It reads the name that is asked for (TLS: server_name, HTTP: Host),
 * checks it, looks it up itself and connects to what it found; where the client meant to go counts
 * for nothing, so an address shared by many names opens none of them. What it reads from sandboxes
 * is hostile, and so it is a process of its own: no files, no keys, nobody else's bytes. */
#pragma once

struct egress_start {
    int listen_fd; /* SEQPACKET, for the launcher; taken over */
};

/* Relays until SIGTERM or SIGINT. The result is the process's exit status. */
int egress_main(const struct egress_start *start);
