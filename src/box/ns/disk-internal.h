/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways of binding a limit, and the image. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "box/ns/disk.h"

/* How a file system keeps a directory within its limit. at and dir are directories on it. */
struct disk_driver {
    const char *name;
    /* id: a number that no other directory has. */
    int (*make)(int at, const char *name, uint32_t id);
    int (*limit)(int dir, uint64_t bytes);
    int (*used)(int dir, uint64_t *ret_bytes);
    int (*remove)(int at, const char *name);
    /* The number of a directory that was there before, 0 if it has none. */
    uint32_t (*id)(int dir);
};

extern const struct disk_driver disk_project; /* project quotas: ext4, xfs */
extern const struct disk_driver disk_btrfs;   /* subvolumes and quota groups */

/* Turns btrfs's simple quotas on, if they are off. 0 or -errno. */
int disk_btrfs_enable(int dir);

struct disk_image {
    char *path;  /* the file; NULL: there is no image */
    char *where; /* an empty directory of the host, where it is mounted for us */
    const struct disk_driver *driver;
    const char *name;
};

/* Whether there is an image in the state directory, and whether it is in use by a loop device. */
bool disk_image_exists(const char *state_dir, bool *ret_attached);
/* Mounts a new image of that size on the directory; 0 bytes: the one that is there. */
int disk_image_open(const char *state_dir, const char *where, uint64_t bytes,
                    struct disk_image *ret, struct err *err);
/* Has the blocks that nothing in it uses taken out of the file. */
void disk_image_trim(int root);
/* remove: the file too. */
void disk_image_close(struct disk_image *image, bool remove);
