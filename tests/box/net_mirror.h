/* SPDX-License-Identifier: Apache-2.0 */
/* A host on the internet that the machine is configured to use: its package mirror. For the one
 * test that goes out; the name comes from the machine's configuration at run time. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

struct mirror {
    char host[128];
    char path[256]; /* of a file of some 100 KB, more than a window of packets */
    int port;
    struct in_addr address; /* set by mirror_resolve */
};

/* The first plain http source of the machine's apt. False when there is none. */
bool mirror_of_this_machine(struct mirror *ret);
/* Asks the resolver for the host's address, over UDP, from the current network namespace. */
bool mirror_resolve(struct mirror *mirror, struct in_addr resolver);
/* Fetches the file from there and tells whether all of it came, with status 200. */
bool mirror_fetch(const struct mirror *mirror);
