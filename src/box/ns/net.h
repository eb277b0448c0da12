/* SPDX-License-Identifier: Apache-2.0 */
/* The network of the namespaces backend: one network namespace per sandbox, a veth pair to the
 * host when it may reach the internet, and one nftables table per server instance.
 *
 * What a sandbox may do is decided by the table alone, which is loaded once: a sandbox costs set
 * elements, no rule. Nothing of the host, of other sandboxes and of private, link-local, metadata,
 * shared, multicast or reserved ranges can be reached, except port 53 of the resolvers given and
 * what the operator opens. The rest of the internet is reached over IPv4 through masquerading, as
 * far as the sandbox's own policy (box/network.h) lets it. IPv6 exists inside as ::1 only.
 *
 * Whatever is in doubt is closed: an address whose sandbox the table does not know sends nothing.
 *
 * Other tables stay as they are, and their word counts too: a forward chain elsewhere whose policy
 * is drop (Docker makes one) stops sandboxes; struct net_facts names it.
 *
 * net_host_sandbox, net_host_mark, net_host_policy, net_host_release and net_host_set_idle may be
 * called by any thread, for different slots; the rest is not thread-safe. All calls need root; the namespaces made belong to the user namespace of the
 * caller, so that nothing inside a sandbox can reconfigure them. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct box_network;
struct err;
struct net_host;

enum { NET_INSTANCES = 8, NET_SLOTS = 2048, NET_RESOLVERS = 3, NET_OPENED = 16 };

struct net_range {
    uint32_t address; /* host byte order */
    unsigned prefix;
};

/* Where the egress relay listens, at net_address_relay(), and as whom it runs. */
struct net_relay {
    uint16_t https, http, dns_udp, dns_tcp; /* 0: there is no relay */
    uid_t uid;
};

struct net_options {
    unsigned instance; /* 0..7: servers side by side on one host have different ones */
    struct in_addr dns[NET_RESOLVERS];
    unsigned dns_count;
    struct net_range opened[NET_OPENED]; /* ranges opened that are closed otherwise */
    unsigned opened_count;
    struct net_relay relay;
    unsigned flows_max; /* connections of one sandbox at a time; 0: a share of the host's */
};

/* What was found and done, for the log and for `carrel doctor`. */
struct net_facts {
    char uplink[IFNAMSIZ];   /* device of the default route; "" when the host has none */
    unsigned mtu;            /* of that route, what sandboxes get */
    bool forwarding_changed; /* forwarding was off on the uplink and was switched on */
    char forward_drop[96];   /* foreign chain that drops forwarded packets by policy, or "" */
};

/* Prepares; touches nothing of the host. Then come net_host_adopt for what runs already, and
 * net_host_start. */
int net_host_open(const struct net_options *options, struct net_host **ret, struct err *err);

/* A sandbox that was found running in the slot: its mark as it was kept (0: it has no link), and its
 * policy, copied; NULL restricts nothing. */
void net_host_adopt(struct net_host *host, unsigned slot, uint32_t mark,
                    const struct box_network *network);

/* Loads the rules (replacing those of an earlier run of the same instance in one transaction, so
 * that living sandboxes notice nothing) and switches IPv4 forwarding on for the uplink, not for
 * the whole host. It stays on afterwards. A host without a default route is no error: sandboxes
 * are made, and get the uplink that exists when they are. A later change of the uplink is
 * followed. */
int net_host_start(struct net_host *host, struct err *err);

/* Makes a fresh network namespace for the slot (0..NET_SLOTS-1, not in use): loopback up, ports
 * below 1024 and ping open to every user inside. With internet also eth0 with the slot's address
 * and a default route; without, no route at all. The caller owns *ret_netns_fd; the namespace, its
 * veth pair and its routes vanish when that is closed and its last process is dead, some
 * milliseconds later and on their own. A failure leaves nothing. The caller's own network
 * namespace is never changed. */
int net_host_sandbox(struct net_host *host, unsigned slot, bool allow_internet, int *ret_netns_fd,
                     struct err *err);

/* From now on (a sandbox being made included) namespaces are made when nothing else wants a
 * processor; or as usual, which is also the state at first. */
void net_host_set_idle(struct net_host *host, bool idle);

/* Gives a namespace that was made without internet its link, as above. */
int net_host_connect(struct net_host *host, unsigned slot, int netns_fd, struct err *err);

/* What marks the packets of the slot's sandbox, 0 if it has no link. To be kept for adoption:
 * without it its connections would break. */
uint32_t net_host_mark(const struct net_host *host, unsigned slot);

/* Puts a policy in force for the slot; copied, NULL restricts nothing. Unless its sandbox is fresh,
 * connections that it forbids end: what the sandbox sends is refused, what is sent to it goes
 * nowhere. One with names needs a relay. */
int net_host_policy(struct net_host *host, unsigned slot, const struct box_network *network,
                    bool fresh, struct err *err);

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
/* Address of the host that stands for the egress relay of an instance; on its loopback link. */
struct in_addr net_address_relay(unsigned instance);

/* What is closed to all sandboxes unless the operator opens it. */
const struct net_range *net_closed(unsigned *ret_count);
