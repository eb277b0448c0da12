/* SPDX-License-Identifier: Apache-2.0 */
/* The nftables table of a server instance: its text, and the nft program that loads it. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "box/ns/net.h"

struct box_network;
struct buf;
struct err;

/* A sandbox that the table knows from its beginning. */
struct nft_member {
    struct in_addr address;
    uint32_t mark;
    const struct box_network *network; /* NULL: restricts nothing */
};

struct nft_policy {
    unsigned instance;     /* names the table and the links it is about */
    struct in_addr subnet; /* of all sandboxes of the instance */
    unsigned prefix;
    const struct in_addr *dns; /* resolvers whose port 53 is open, wherever they are */
    unsigned dns_count;
    const struct net_range *opened; /* exceptions from what is closed to all */
    unsigned opened_count;
    struct net_relay relay; /* port 0: there is none */
    struct in_addr relay_address;
    unsigned flows_max; /* connections of one sandbox at a time */
    const struct nft_member *members;
    size_t member_count;
};

/* Ranges that are closed to all sandboxes. */
extern const struct net_range nft_closed[];
extern const unsigned nft_closed_count;

#define NFT_LAST_CHAIN "postrouting" /* of the table, in the order of its making */

/* Sets of which every sandbox has elements, for nft_change.h: all it sends carries its mark, and
 * what carries another is not its own. */
#define NFT_MARKS "marks" /* address : mark */
#define NFT_LIVE  "live"  /* address . mark; without it nothing passes */
/* And those of sandboxes with a policy. */
#define NFT_LISTED  "listed"  /* address: deny counts */
#define NFT_SHUT    "shut"    /* address: all is denied */
#define NFT_RELAYED "relayed" /* address: but for names */
#define NFT_ALLOW   "allow"   /* address, range of destinations */
#define NFT_DENY    "deny"
bool nft_is_listed(const struct box_network *network);
bool nft_is_shut(const struct box_network *network);
bool nft_is_relayed(const struct box_network *network);

/* Appends the text that makes the table anew in one transaction. All of it is there then but the
 * members' elements of NFT_LIVE, so that nothing passes yet: for some microseconds the kernel has the
 * rules in force and not yet the sets of ranges that they ask. 0 or -ENOBUFS. */
int nft_policy_text(const struct nft_policy *policy, struct buf *out);
/* Appends the text that removes the table, existing or not. */
int nft_remove_text(unsigned instance, struct buf *out);

/* Runs `nft -f -` in the calling thread's network namespace with text as its input; what it says
 * is in the error. Takes some 5 ms. */
int nft_load(const char *text, size_t len, struct err *err);

/* Looks for a chain outside of our tables that drops forwarded packets by its policy, in what
 * `nft list chains` prints: "table FAMILY NAME, chain NAME" into ret, or "". */
void nft_find_forward_drop(const char *listing, char *ret, size_t size);
/* The same for this host; best effort: "" also when it cannot be told. */
void nft_forward_drop(char *ret, size_t size);
