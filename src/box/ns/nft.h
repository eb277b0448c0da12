/* SPDX-License-Identifier: Apache-2.0 */
/* The nftables table of a server instance: its text, and the nft program that loads it. */
#pragma once

#include <netinet/in.h>
#include <stddef.h>

struct buf;
struct err;

struct nft_policy {
    unsigned instance;     /* names the table and the links it is about */
    struct in_addr subnet; /* of all sandboxes of the instance */
    unsigned prefix;
    const struct in_addr *dns; /* resolvers whose port 53 is open, wherever they are */
    unsigned dns_count;
};

/* Appends the text that makes the table anew in one transaction. 0 or -ENOBUFS. */
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
