/* SPDX-License-Identifier: Apache-2.0 */
/* Where sandboxes' files are, and what keeps a sandbox from filling it.
 *
 * A limit binds when the kernel refuses the write that passes it. Three ways lead there, tried in
 * this order unless one is asked for: quotas of the file system that the state directory is on
 * (project quotas of ext4 and xfs, subvolume quotas of btrfs), or a file system of our own with
 * quotas in a sparse image file, or neither: then the guard (disk_guard.h) acts before the host is
 * full. Each way is tried out by writing past a small limit before it is trusted.
 *
 * All three are one directory to the rest, <state>/disk. The image is mounted there in a mount
 * namespace of the launcher's own, on a loop device that goes with its last user: nothing of it is to
 * be seen or cleaned up elsewhere. As long as there are sandboxes, parked ones too, it is kept, and
 * the next launcher finds it by its loop device or attaches it again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "box/disk.h"

struct disk;

struct disk_options {
    const char *state_dir;
    unsigned instance;
    enum box_disk backend;
    uint64_t image_bytes; /* 0: as much as is free when it is made */
};

/* Chooses and prepares. Enters a mount namespace of its own if it needs one, so it must be called
 * before there are other threads. */
int disk_open(const struct disk_options *options, struct disk **ret, struct err *err);
/* NULL is fine. remove: no sandbox is left, not even a parked one: an image is not needed any more. */
void disk_close(struct disk *disk, bool remove);

/* The directory in which the sandboxes' files are to be. */
const char *disk_path(const struct disk *disk);
/* What people call it: "btrfs image", "xfs quota", "guard". */
const char *disk_name(const struct disk *disk);
/* Whether limits bind. If not, *ret_why (may be NULL) says why; static or the disk's. */
bool disk_binds(const struct disk *disk, const char **ret_why);

/* Whether the guard is to look after it. */
bool disk_guarded(const struct disk *disk);

/* Makes an empty directory that a limit can be set for. May be called by any thread. 0 or -errno. */
int disk_make(struct disk *disk, int at, const char *name);
/* Sets the limit; without a way to bind it, nothing happens. 0 or -errno. */
int disk_limit(const struct disk *disk, int dir, uint64_t bytes);
/* Bytes that it takes. -EOPNOTSUPP when they must be counted. */
int disk_used(const struct disk *disk, int dir, uint64_t *ret_bytes);
/* Removes it and all that is in it; what is not there is no error. 0 or -errno. */
int disk_remove(const struct disk *disk, int at, const char *name);
/* The same for all that is in the directory. */
int disk_empty(const struct disk *disk, int dir);

/* Room on the file system of the state directory, which is what an image grows into. */
struct disk_room {
    uint64_t total, free; /* bytes */
};
int disk_room(const struct disk *disk, struct disk_room *ret);
/* What of it sandboxes must leave: 5 %, and 2 GiB at the most. */
uint64_t disk_reserve(const struct disk_room *room);
/* What an image keeps of the host's disk although nothing is in it any more; 0 without one. */
uint64_t disk_slack(const struct disk *disk);
/* Gives that back. Takes its time; may be called by any thread. */
void disk_trim(const struct disk *disk);
