/* SPDX-License-Identifier: Apache-2.0 */
/* A directory tree made from the entries of an archive (tar.h). Synchronous; belongs into a worker.
 *
 * Where. A target that is not there comes all at once: the tree is made under a name
 * ".carrel-upload-…" in the nearest directory above that exists, and moved at the commit; until then,
 * and if there is none, nothing has happened. A target that is there (or a symlink to a directory) is
 * added to: each file and link comes whole or not at all, replacing what has its name, but what was
 * complete before a failure stays.
 *
 * What. Files, directories, symlinks, and hard links to files of the tree. Every name is taken apart
 * and walked from the target's own directory, component by component, without following a symlink: no
 * archive, and nobody who changes the tree meanwhile, leads anything out of it. Refused (ERR_INVALID):
 * absolute names, "..", a way through what is no directory, devices and FIFOs, hard links to what is no
 * file. Directories that are there keep their mode and owner.
 *
 * Owner and mode. All belongs to the terms' user; permissions are the archive's without setuid, setgid
 * and sticky. With `preserve` (for root) all bits and the archive's numeric owners. Files have the
 * archive's time. */
#pragma once

#include <stdint.h>

#include "base/tar.h"
#include "agent/upload_terms.h"

struct tar_tree;

/* path is absolute; the terms are borrowed. ERR_PRECONDITION when the terms' If-None-Match is "*" and
 * there is something; ERR_INVALID when that is no directory; ERR_NO_SPACE; ERR_INTERNAL. */
int tar_tree_open(const char *path, const struct upload_terms *terms, bool preserve,
                  struct tar_tree **ret, struct err *err);
int tar_tree_begin(struct tar_tree *t, const struct tar_entry *entry, struct err *err);
int tar_tree_write(struct tar_tree *t, const char *p, size_t n, struct err *err);
int tar_tree_end(struct tar_tree *t, struct err *err);
/* ERR_CONFLICT when the target has appeared meanwhile. */
int tar_tree_commit(struct tar_tree *t, struct err *err);
uint64_t tar_tree_entries(const struct tar_tree *t);
uint64_t tar_tree_bytes(const struct tar_tree *t);
/* Without a commit before: removes what was not yet in place, which can take long. NULL is fine. */
void tar_tree_free(struct tar_tree *t);
