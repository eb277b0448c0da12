/* SPDX-License-Identifier: Apache-2.0 */
/* Copying a tree that a sandbox filled, exactly: contents with their holes, links, ids, modes, times
 * and extended attributes, the overlay's own (whiteouts, opaque directories) included. Where the file
 * system can share blocks it does. The tree must not change meanwhile; what is in it is hostile all
 * the same: nothing is followed, nothing leaves it, depth and descriptors are bounded. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

enum {
    COPY_DEPTH_MAX = 1024, /* levels of directories: more than any path can name in one call */
    COPY_LINKS_MAX = 1 << 20,
};

struct copy_result {
    uint64_t bytes;   /* allocated by what was made, as du counts */
    uint64_t entries; /* files, directories and all else */
};

/* Makes to/name, which must not exist, a copy of the directory from. A stop that becomes true ends it
 * with ERR_CANCELED. 0, or negative with err; what was made then stays for remove_tree. */
int copy_tree(int from, int to, const char *name, const atomic_bool *stop, struct copy_result *ret,
              struct err *err);
