/* SPDX-License-Identifier: Apache-2.0 */
/* What the file calls say about one directory entry: filesystem.EntryInfo as JSON (protocol.md 4.5,
 * 5.6), zero values left out.
 *
 *   type, mode     of the target for a symlink; no type if that is broken or the entry is neither
 *                  file nor directory
 *   symlinkTarget  the target with all links resolved, the entry's own path if that fails
 *   permissions    Go's text of the entry itself
 *   metadata       see metadata.h */
#pragma once

#include <sys/stat.h>

#include "agent/owners.h"
#include "base/buf.h"

enum { ENTRY_PERMISSIONS_SIZE = 24 };
/* "-rw-r--r--", "drwxr-xr-x", "Lrwxrwxrwx", "dtrwxrwxrwx", "ug-rwx…": as Go's FileMode prints. */
void entry_permissions(mode_t mode, char out[ENTRY_PERMISSIONS_SIZE]);

/* Appends the object for `at` (relative to dir, or absolute with AT_FDCWD). path is what is reported
 * and read metadata from. 0; -errno of the stat (then nothing is appended); -ENOBUFS (part of it may
 * be appended). ret_st, if not NULL, gets the entry's own lstat. */
int entry_append(struct buf *out, struct owners *owners, int dir, const char *at, const char *path,
                 struct stat *ret_st);
