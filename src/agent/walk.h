/* SPDX-License-Identifier: Apache-2.0 */
/* Lists a directory tree as EntryInfo objects, step by step (protocol.md 5.7): depth first, by name,
 * a directory before what is in it. Bounded by the names of the directories on the way, not by the
 * tree. Symlinked directories are listed, not entered; what vanishes meanwhile is left out. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct walk;

/* path is the root, itself not listed; a symlink to a directory is followed. depth: levels, >= 1.
 * ERR_NOT_FOUND, ERR_INVALID (no directory), ERR_PRECONDITION (a cycle of links) or ERR_INTERNAL. */
int walk_open(const char *path, uint32_t depth, struct walk **ret, struct err *err);
/* Appends objects, a comma between them, until about `budget` names were read or entries written, or
 * `room` bytes are appended. 1: there is more, 0: done, negative: failed with *err. */
int walk_step(struct walk *w, struct buf *out, unsigned budget, size_t room, struct err *err);
void walk_free(struct walk *w);
