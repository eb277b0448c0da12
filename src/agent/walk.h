/* SPDX-License-Identifier: Apache-2.0 */
/* Goes through a directory tree, step by step (protocol.md 5.7), and lists it as EntryInfo objects:
 * depth first, by name,
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
/* One entry. Texts and descriptor are valid until the next call. */
struct walk_entry {
    int dir; /* the directory it is in */
    const char *name;
    const char *path; /* the root's as given to walk_open, and the way below it */
};

/* The next entry: 1 and *ret, 0 at the end, -EAGAIN when the budget of names and entries is used up, or
 * another -errno. */
int walk_next(struct walk *w, unsigned *budget, struct walk_entry *ret);
/* Goes into the entry just got, a directory: what is in it comes next. It may have gone or be something
 * else by now: then it is passed over. 0, or -errno when nothing can be entered any more. */
int walk_enter(struct walk *w);
/* The path where it stands, for errors. */
const char *walk_path(struct walk *w);
/* The root, open. */
int walk_root(const struct walk *w);

/* Appends objects, a comma between them, until about `budget` names were read or entries written, or
 * `room` bytes are appended. 1: there is more, 0: done, negative: failed with *err. */
int walk_step(struct walk *w, struct buf *out, unsigned budget, size_t room, struct err *err);
void walk_free(struct walk *w);
