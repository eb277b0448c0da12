/* SPDX-License-Identifier: Apache-2.0 */
/* Removing and measuring a tree that a sandbox filled: any names, any depth, any number of entries,
 * never through a symbolic link, never onto another mount. */
#pragma once

#include <stdint.h>

/* Removes parent/name (a relative path) and all below. What is not there is no error. 0 or -errno of the first entry
 * that could not be removed (the rest is removed all the same). */
int remove_tree(int parent, const char *name);

/* Bytes allocated by parent/name and what is up to 48 levels below, as du counts. 0 or -errno. */
int remove_measure(int parent, const char *name, uint64_t *ret_bytes);
