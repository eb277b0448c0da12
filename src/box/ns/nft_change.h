/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to the elements of the sets of an instance's table (nft.h): many in one transaction,
 * straight to the kernel, without the nft program. A transaction takes some 10 us, an element 1. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct err;

struct nft_change {
    unsigned instance;
    uint32_t count; /* of messages, the opening one included */
    bool full;
    struct buf bytes;
};

/* A socket for nft_change_commit in the calling thread's network namespace. It or -errno. */
int nft_change_open(struct err *err);

/* One on which something comes to read whenever tables, chains or rules of the namespace change (not
 * their sets' elements). It or -errno. */
int nft_monitor_open(struct err *err);
/* Reads it empty. */
void nft_monitor_drain(int monitor);
/* Whether the instance's table is there and in force; true also when that cannot be told. */
bool nft_rules_exist(int sock, unsigned instance);

void nft_change_begin(struct nft_change *change, unsigned instance);
/* Frees the memory; due after begin in any case. */
void nft_change_done(struct nft_change *change);

/* What an element says. The sets' types decide which of these to use. */
void nft_change_address(struct nft_change *change, bool add, const char *set,
                        struct in_addr address);
void nft_change_mark(struct nft_change *change, bool add, const char *map, struct in_addr address,
                     uint32_t mark);
void nft_change_address_mark(struct nft_change *change, bool add, const char *set,
                             struct in_addr address, uint32_t mark);
/* first and last in host byte order. */
void nft_change_range(struct nft_change *change, bool add, const char *set, struct in_addr address,
                      uint32_t first, uint32_t last);

/* All or nothing. 0 or -errno: -EEXIST for an element that is there, -ENOENT for one that is not, or
 * when there is no such set. Nothing to do is success. */
int nft_change_commit(int sock, struct nft_change *change, struct err *err);
