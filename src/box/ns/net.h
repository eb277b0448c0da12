/* SPDX-License-Identifier: Apache-2.0 */
/* The network of the namespaces backend: one network namespace per sandbox, a veth pair to the
 * host when it may reach the internet, and one nftables table per server instance.
 *
 * What a sandbox may do is decided by the table alone, which is loaded once: a sandbox costs no
 * rule. Nothing of the host, of other sandboxes and of private, link-local, metadata, shared,
 * multicast or reserved ranges can be reached, except port 53 of the resolvers given. The rest of
 * the internet is reached over IPv4 through masquerading. IPv6 exists inside as ::1 only.
 *
 * Other tables stay as they are, and their word counts too: a forward chain elsewhere whose policy
 * is drop (Docker makes one) stops sandboxes; struct net_facts names it.
 *
 * Not thread-safe. All calls need root; the namespaces made belong to the user namespace of the
 * caller, so that nothing inside a sandbox can reconfigure them. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

struct err;
struct net_host;

enum { NET_INSTANCES = 8, NET_SLOTS = 2048, NET_RESOLVERS = 3 };

struct net_options {
    unsigned instance; /* 0..7: servers side by side on one host have different ones */
    struct in_addr dns[NET_RESOLVERS];
    unsigned dns_count;
};

/* What was found and done, for the log and for `carrel doctor`. */
struct net_facts {
    char uplink[IFNAMSIZ];   /* device of the default route; "" when the host has none */
    unsigned mtu;            /* of that route, what sandboxes get */
    bool forwarding_changed; /* forwarding was off on the uplink and was switched on */
    char forward_drop[96];   /* foreign chain that drops forwarded packets by policy, or "" */
};

/* Loads the rules (replacing those of an earlier run of the same instance in one transaction, so
 * that living sandboxes notice nothing) and switches IPv4 forwarding on for the uplink, not for
 * the whole host. It stays on afterwards. A host without a default route is no error: sandboxes
 * are made, and get the uplink that exists when they are. */
int net_host_open(const struct net_options *options, struct net_host **ret, struct err *err);

/* Makes a fresh network namespace for the slot (0..NET_SLOTS-1, not in use): loopback up, ports
 * below 1024 and ping open to every user inside. With internet also eth0 with the slot's address
 * and a default route; without, no route at all. The caller owns *ret_netns_fd; the namespace, its
 * veth pair and its routes vanish when that is closed and its last process is dead, some
 * milliseconds later and on their own. A failure leaves nothing. The caller's own network
 * namespace is never changed. */
int net_host_sandbox(struct net_host *host, unsigned slot, bool allow_internet, int *ret_netns_fd,
                     struct err *err);

/* The sandbox of the slot is gone: its processes are dead and its descriptor is closed. The slot
 * may be used again at once, even while the kernel still takes the old namespace apart. */
void net_host_release(struct net_host *host, unsigned slot);

/* Frees the handle; NULL is fine. Sandboxes that live on keep their namespaces; so they need the
 * rules: remove_rules is for when there are none. */
void net_host_close(struct net_host *host, bool remove_rules);

/* Valid until the next call on host. */
const struct net_facts *net_host_facts(const struct net_host *host);

/* The host's resolvers that a sandbox could use too: the nameservers of /etc/resolv.conf that are
 * not loopback, otherwise those of systemd-resolved's own list. IPv4 only, at most NET_RESOLVERS.
 * Returns how many, 0 if there are none, or -errno when a file cannot be read. */
int net_resolvers(struct in_addr out[NET_RESOLVERS]);

/* Address of the sandbox's eth0, and of the gateway it sees. */
struct in_addr net_address_inside(unsigned instance, unsigned slot);
struct in_addr net_address_gateway(unsigned instance, unsigned slot);
