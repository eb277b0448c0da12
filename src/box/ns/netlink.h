/* SPDX-License-Identifier: Apache-2.0 */
/* Route netlink: links, addresses, routes and neighbours, many messages in one system call.
 *
 * A batch is filled by the netlink_add_* functions, which cannot fail (their number is fixed by
 * the code that calls them, and asserted), and executed by netlink_commit. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum { NETLINK_BATCH_BYTES = 2048, NETLINK_BATCH_STEPS = 8, NETLINK_MAC = 6 };

struct netlink_batch {
    _Alignas(4) char data[NETLINK_BATCH_BYTES];
    size_t len;
    unsigned count;
    const char *steps[NETLINK_BATCH_STEPS]; /* what each message does, for the error */
};

/* A route socket in the calling thread's network namespace, where it stays whatever the thread
 * does later. The descriptor, or -errno. */
int netlink_open(struct err *err);

static inline void netlink_begin(struct netlink_batch *batch)
{
    batch->len = 0;
    batch->count = 0;
}

struct netlink_veth {
    const char *name, *peer_name;
    uint8_t mac[NETLINK_MAC], peer_mac[NETLINK_MAC];
    unsigned mtu;
    int peer_netns; /* descriptor of the namespace in which the peer is born */
};
/* A veth pair, both ends down. One queue each, whatever the number of processors, since every queue
 * costs kernel objects. A name in use is -EEXIST. */
void netlink_add_veth(struct netlink_batch *batch, const struct netlink_veth *veth);
/* Brings a link up; forward also makes it one from which IPv4 packets are forwarded. */
void netlink_add_up(struct netlink_batch *batch, unsigned ifindex, bool forward);
void netlink_add_address(struct netlink_batch *batch, unsigned ifindex, struct in_addr address,
                         unsigned prefix);
/* One of the host alone (/32), there already or not. */
void netlink_add_host_address(struct netlink_batch *batch, unsigned ifindex,
                              struct in_addr address);
/* gateway NULL: on the link itself. An existing route to the same prefix is replaced. */
void netlink_add_route(struct netlink_batch *batch, struct in_addr to, unsigned prefix,
                       unsigned ifindex, const struct in_addr *gateway);
/* A permanent neighbour: no ARP is spoken, and it does not count against gc_thresh3. */
void netlink_add_neighbour(struct netlink_batch *batch, unsigned ifindex, struct in_addr address,
                           const uint8_t mac[NETLINK_MAC]);

/* Executes the batch in order. All messages are tried; the error is that of the first that failed
 * and names its step. 0 or -errno. */
int netlink_commit(int sock, struct netlink_batch *batch, struct err *err);

/* Takes a /32 away again; fine if it is not there. */
void netlink_remove_address(int sock, unsigned ifindex, struct in_addr address);

/* A socket in the calling thread's network namespace that receives changes of IPv4 routes; and
 * whether what it received is about the default route. The descriptor, or -errno. */
int netlink_monitor_routes(struct err *err);
bool netlink_tells_default_route(const void *events, size_t len);

/* The link and its name by which the socket's namespace would send to an address; *ret_mtu is the
 * route's own MTU or 0. -ENETUNREACH when there is no route. */
int netlink_route_get(int sock, struct in_addr to, unsigned *ret_ifindex, unsigned *ret_mtu);

/* Looks a link up in the socket's namespace. Index by name, name by index, MTU by name: 0 or
 * -errno. */
int netlink_link_index(int sock, const char *name, unsigned *ret);
int netlink_link_name(int sock, unsigned ifindex, char ret[IFNAMSIZ]);
int netlink_link_mtu(int sock, const char *name, unsigned *ret);

/* Waits until a link transmits that was up when its other end came up. Until the kernel's link
 * watch has noticed the carrier, its queue drops all packets, and a peer that has lost its first
 * one tries again after a second. At most some milliseconds; 0 or -errno. */
int netlink_link_settle(int sock, const char *name);
