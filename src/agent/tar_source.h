/* SPDX-License-Identifier: Apache-2.0 */
/* A directory tree as a tar stream, piece by piece. Synchronous; belongs into a worker.
 *
 * Names are relative ("./" is the tree itself). Files, directories and symlinks; a hard link is a file
 * of its own; sockets, FIFOs and devices are left out, and pseudo-file systems (/proc) are not entered.
 * What vanishes before its turn is left out; a file that becomes shorter while it is read is an error,
 * as its length was promised. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct tar_source;

/* ERR_NOT_FOUND, ERR_INVALID (no directory), ERR_PRECONDITION or ERR_INTERNAL, as walk_open. */
int tar_source_open(const char *path, struct tar_source **ret, struct err *err);
/* Appends about `room` bytes. 1: there is more, 0: done, negative: failed with *err. */
int tar_source_fill(struct tar_source *s, struct buf *out, size_t room, struct err *err);
void tar_source_free(struct tar_source *s);
