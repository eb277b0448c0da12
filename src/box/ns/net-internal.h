/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the sandbox network share, and what its tests look at. */
#pragma once

#include <net/if.h>

#include "base/str.h"
#include "box/ns/net.h"

enum { NET_PREFIX = 20 }; /* of all addresses of an instance */

/* The addresses in a resolv.conf text, in its order, without doubles. Returns how many. */
unsigned net_resolvers_parse(struct str text, struct in_addr out[NET_RESOLVERS]);

/* First address of an instance: 100.64.(16 * instance).0, each instance a /20. */
struct in_addr net_subnet(unsigned instance);

/* The host's end of a slot's pair, "cr<instance>-<slot><letters>": three letters for generation
 * (modulo 26 * 26 * 26) tell a new pair from those of the slot's last sandboxes, which the kernel
 * may still be removing. */
void net_link_name(unsigned instance, unsigned slot, unsigned generation, char out[IFNAMSIZ]);
