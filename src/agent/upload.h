/* SPDX-License-Identifier: Apache-2.0 */
/* One file being written so that the target shows the old content or the new, never part of it.
 * Synchronous and free of shared state: on the loop for small files, in a worker for large ones.
 *
 * How. The bytes go to a file without a name (O_TMPFILE) on the target's file system, which vanishes
 * with its descriptor: a cut upload or a killed agent leaves nothing to clean up. At commit a new
 * target gets the file by link(2); an existing one is replaced by rename(2) from a short-lived name
 * ".carrel-upload-…" beside it. Names that a dead agent left are removed at the next start
 * (upload_journal.h). Where O_TMPFILE is missing the file has such a name from the beginning.
 *
 * What happens to targets:
 *   nothing there     0644, owner user:primary group, missing parents 0755 made at commit
 *   regular file      replaced; mode kept (not setuid/setgid), ACL and foreign user.* attributes
 *                     copied, owner set to the user. Its other hard links keep the old content.
 *   symlink           its final target is treated as above, in that one's directory; a dangling
 *                     link's target is created
 *   directory, or a path ending in "/", "." or ".."           ERR_INVALID
 *   FIFO, socket, device: never opened                        ERR_INVALID
 *   a mount point (a file bound over)  cannot be replaced: the complete new content is copied into
 *                                      it, the one case that is not atomic
 *
 * Conditions (If-Match, If-None-Match) are looked at when the upload begins, so that most refusals
 * come before the body, and again when it is put in place, where no other upload can come between. A
 * process in the sandbox can; only "If-None-Match: *" holds against those, too, by link(2).
 *
 * What watchers see, ours and every inotify user in the sandbox: for a new file exactly create,
 * attrib (chmod), modify (write), in this order, because after link(2) the file is reached by its
 * name and its owner and size are set once more, to what they are. For a replaced file our watchers
 * hide the temporary name and so show chmod, write; others see it moved in before these. (A nameless
 * file's writes show as "#<inode>" in its directory; it is made in the root directory, where hardly
 * anybody watches, unless the target is on another mount.) */
#pragma once

#include <sys/types.h>

#include "agent/etag.h"
#include "agent/upload_terms.h"
#include "base/err.h"

/* Names with this prefix are ours; watchers hide them. */
#define UPLOAD_TEMP_PREFIX ".carrel-upload-"

struct upload;

/* path is absolute; the terms are borrowed until upload_free. ERR_NO_SPACE (507, "not enough disk space
 * available…"), ERR_PRECONDITION (412), ERR_INVALID or ERR_INTERNAL. */
int upload_open(const char *path, const struct upload_terms *terms, struct upload **ret,
                struct err *err);
int upload_write(struct upload *u, const void *p, size_t n, struct err *err);
/* Appends all of an open file. */
int upload_write_file(struct upload *u, int fd, struct err *err);
/* Puts the file in its place. On failure the target is as it was. */
int upload_commit(struct upload *u, struct err *err);
/* After the commit: the tag of what was put there. */
void upload_etag(const struct upload *u, char out[ETAG_SIZE]);
/* After the commit: the content's digest; NULL when the terms did not want it. */
const unsigned char *upload_digest(const struct upload *u);
const char *upload_path(const struct upload *u);
/* Without a commit before: nothing has happened. NULL is fine. */
void upload_free(struct upload *u);
