/* SPDX-License-Identifier: Apache-2.0 */
/* One watched directory, on inotify: kernel events in, filesystem.FilesystemEvent out (protocol.md
 * 5.9), in the order they happened.
 *
 *   created, moved in      CREATE     and, for a directory in a recursive watch, CREATE for
 *                                     everything found in it
 *   written, truncated     WRITE
 *   attributes changed     CHMOD
 *   moved away             RENAME     of the old name; covers everything below a directory
 *   deleted                REMOVE
 *
 * A watch is of a path. When the directory there is deleted (REMOVE of "."), or it or one above it is
 * moved (RENAME of "."), nothing below is known any more; when the path leads to a directory again,
 * that is CREATE of "." and of everything in it. With `wait` it need not be there at the beginning.
 *
 * The names known so far are remembered (watch_tree.h). That closes three gaps:
 *   - What is made in a new directory before its watch exists is found by reading the directory
 *     behind it, and told once, although the kernel may tell it again.
 *   - When the kernel's queue overflows, the tree is read again and the differences are told: CREATE,
 *     REMOVE, and WRITE or CHMOD for what changed since the queue was last known to be whole.
 *   - Directories that the kernel's limit of watches leaves out are read again every now and then,
 *     and told of in the same way.
 *   Of both the owner is told first, by `rescan`.
 *   - Events on names that are gone already are not told after their REMOVE.
 *
 * Uploads of the agent's own show as they do with a plain write: see upload.h. Names beginning with
 * UPLOAD_TEMP_PREFIX are hidden, and a move from one of them onto a file is not told, only the CHMOD
 * and WRITE that follow it.
 *
 * Everything happens on the loop, in slices, so that a large tree does not hold it up. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "base/str.h"

struct watch;

struct watch_options {
    bool recursive;
    bool include_entry;  /* an "entry" with CREATE, WRITE and CHMOD, if it still exists */
    bool network_mounts; /* accept NFS, SMB and FUSE, which tell only what this machine does */
    bool wait;           /* the directory may come later: ready at once then */
};

enum watch_rescan { WATCH_RESCAN_OVERFLOW, WATCH_RESCAN_LIMIT };
enum { WATCH_NAMES_MAX = 1 << 20 }; /* names of one watch; beyond it fails (ERR_EXHAUSTED) */

struct watch_callbacks {
    /* The whole tree is watched from now on. Not from inside watch_open. */
    void (*ready)(struct watch *w, void *arg);
    /* One event as JSON: {"name":"…","type":"EVENT_TYPE_…","entry":{…}}. */
    void (*event)(struct watch *w, struct str json, void *arg);
    /* All that is known just now has been told: the time to send what was collected. */
    void (*settled)(struct watch *w, void *arg);
    /* What follows comes from reading the tree again: events may be missing in between, and what was
     * made and removed meanwhile is not told. */
    void (*rescan)(struct watch *w, enum watch_rescan reason, void *arg);
    /* It cannot go on: nothing more will come. */
    void (*failed)(struct watch *w, const struct err *err, void *arg);
};

/* ERR_NOT_FOUND (not with `wait`), ERR_INVALID (no directory, or a refused file system), ERR_EXHAUSTED (the kernel's
 * limits) or ERR_INTERNAL. No callback is called from inside. */
int watch_open(uv_loop_t *loop, const char *path, const struct watch_options *options,
               const struct watch_callbacks *callbacks, void *arg, struct watch **ret,
               struct err *err);
/* While paused the kernel queues, and when that overflows a rescan follows. May be called inside
 * `event`; the few events that are read already still come. */
void watch_pause(struct watch *w);
void watch_resume(struct watch *w);
/* Tells now what has happened up to now, without waiting for the loop; what takes longer than a second
 * (a large tree that is read again) is told later. */
void watch_catch_up(struct watch *w);
/* No callback after this. NULL is fine. Not from inside a callback. */
void watch_close(struct watch *w);
