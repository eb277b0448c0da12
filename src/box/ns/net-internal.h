/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the sandbox network share, and what its tests look at. */
#pragma once

#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/str.h"
#include "box/network.h"
#include "box/ns/net.h"
#include "box/ns/netlink.h"

enum { NET_PREFIX = 20 }; /* of all addresses of an instance */

/* The addresses in a resolv.conf text, in its order, without doubles. Returns how many. */
unsigned net_resolvers_parse(struct str text, struct in_addr out[NET_RESOLVERS]);

/* First address of an instance: 100.64.(16 * instance).0, each instance a /20. */
struct in_addr net_subnet(unsigned instance);

/* The host's end of a slot's pair, "cr<instance>-<slot><letters>": three letters for generation
 * (modulo 26 * 26 * 26) tell a new pair from those of the slot's last sandboxes, which the kernel
 * may still be removing. */
void net_link_name(unsigned instance, unsigned slot, unsigned generation, char out[IFNAMSIZ]);

/* ---- the handle ---- */

struct net_host;
typedef int net_job(struct net_host *host, void *argument, struct err *err);

/* What the rules say of a slot. */
struct net_slot {
    uint32_t mark;               /* 0: no link */
    struct box_network *network; /* NULL: restricts nothing */
};

struct net_host {
    struct net_options options;
    struct net_facts facts;
    unsigned uplink_index; /* 0: none found yet */
    int home;              /* the host's network namespace */
    int route_sock;        /* in it */
    int nft_sock;          /* in it */
    int monitor_sock;      /* in it: changes of routes */
    int rules_sock;        /* in it: changes of rules */
    bool rules_lost;       /* our table is gone, and could not be made again yet */
    uint16_t generation;   /* of the next pair's name */
    uint32_t next_mark;
    struct net_slot slots[NET_SLOTS];
    pthread_mutex_t rules; /* for nft_sock, slots and next_mark */

    pthread_t thread;
    pid_t tid;
    atomic_bool idle;     /* sandboxes are made with WORKER_NICE */
    pthread_mutex_t turn; /* whose job it is */
    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t done;
    int wake_fd;  /* tells the thread of a job, or of the end */
    net_job *job; /* to be done, NULL when idle */
    void *argument;
    struct err *err;
    int result;
    bool stop;
};

/* net_policy.c: in any thread. */
/* The rules anew, with all slots as they are known. */
int net_policy_load(struct net_host *host, struct err *err);
/* Makes the rules again if somebody has taken them away. */
void net_policy_mend(struct net_host *host);
/* The slot's sandbox has a link now; its policy, if there is one, comes into force with it. */
int net_policy_enter(struct net_host *host, unsigned slot, struct err *err);
