/* SPDX-License-Identifier: Apache-2.0 */
/* Whole paths and whole trees: making all levels, removing recursively. Synchronous; removal can
 * take long and belongs into a worker. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* mkdir -p, 0755; every level that is made is given to uid:gid. 0, ERR_INVALID when something on the
 * way is not a directory, or another error. */
int tree_make_dirs(const char *path, uid_t uid, gid_t gid, struct err *err);
/* The same for all levels above the last component. */
int tree_make_parents(const char *path, uid_t uid, gid_t gid, struct err *err);

/* Removes a file, a symlink (not what it points to) or a directory with everything in it. A missing
 * path is success. Never follows a symlink inside, also when directories are swapped for links
 * meanwhile; what vanishes meanwhile is fine; depth costs no stack and few descriptors. */
int tree_remove(const char *path, struct err *err);
/* Empties an open directory. 0 or -errno. */
int tree_empty(int dir);
/* Whether tree_remove is quick: nothing there, or no directory and not large. */
bool tree_remove_is_quick(const char *path);
