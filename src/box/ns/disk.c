/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing where sandboxes' files go and how their limits hold. */
#include "box/ns/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "box/ns/disk-internal.h"
#include "box/remove.h"

enum {
    ID_FIRST = 0x60000000, /* numbers of projects, a range for each instance */
    ID_RANGE = 1 << 24,
};
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

struct disk {
    const struct disk_driver *driver; /* NULL: limits do not bind */
    bool unguarded;
    struct disk_image image;
    char *path;
    int root, state;
    uint32_t id_first;
    _Atomic uint32_t next_id;
    char name[48];
    char why[256]; /* it does not bind */
};

const char *disk_path(const struct disk *disk)
{
    return disk->path;
}

const char *disk_name(const struct disk *disk)
{
    return disk->name;
}

bool disk_binds(const struct disk *disk, const char **ret_why)
{
    if (ret_why)
        *ret_why = disk->why;
    return disk->driver;
}

bool disk_guarded(const struct disk *disk)
{
    return !disk->unguarded;
}

/* ---- one directory ---- */

int disk_make(struct disk *disk, int at, const char *name)
{
    if (!disk->driver)
        return mkdirat(at, name, 0700) < 0 ? -errno : 0;
    uint32_t id = atomic_fetch_add(&disk->next_id, 1);
    return disk->driver->make(at, name, disk->id_first + id % ID_RANGE);
}

int disk_limit(const struct disk *disk, int dir, uint64_t bytes)
{
    return disk->driver && bytes ? disk->driver->limit(dir, bytes) : 0;
}

int disk_used(const struct disk *disk, int dir, uint64_t *ret_bytes)
{
    return disk->driver ? disk->driver->used(dir, ret_bytes) : -EOPNOTSUPP;
}

int disk_remove(const struct disk *disk, int at, const char *name)
{
    return disk->driver ? disk->driver->remove(at, name) : remove_tree(at, name);
}

int disk_empty(const struct disk *disk, int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    int rc = stream ? 0 : -errno;
    if (!stream) {
        fd_closep(&fd);
        return rc;
    }
    for (struct dirent *entry; rc == 0 && (entry = readdir(stream));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = disk_remove(disk, dir, entry->d_name);
    closedir(stream);
    return rc;
}

int disk_room(const struct disk *disk, struct disk_room *ret)
{
    struct statvfs st;
    if (fstatvfs(disk->state, &st) < 0)
        return -errno;
    ret->total = (uint64_t)st.f_blocks * st.f_frsize;
    ret->free = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

uint64_t disk_reserve(const struct disk_room *room)
{
    uint64_t part = room->total / 20;
    return part < 2 * GIB ? part : 2 * GIB;
}

uint64_t disk_slack(const struct disk *disk)
{
    struct stat file;
    struct statvfs in;
    if (!disk->image.path || stat(disk->image.path, &file) < 0 || fstatvfs(disk->root, &in) < 0)
        return 0;
    uint64_t taken = (uint64_t)file.st_blocks * 512;
    uint64_t used = (uint64_t)(in.f_blocks - in.f_bfree) * in.f_frsize;
    return taken > used ? taken - used : 0;
}

void disk_trim(const struct disk *disk)
{
    if (disk->image.path)
        disk_image_trim(disk->root);
}

/* ---- trying it out ---- */

#define TRIAL ".trial"

/* Writes past a limit of one MiB: must be refused on the way to four. */
static int write_past(int dir)
{
    static const char block[64 << 10];
    _cleanup_close_ int fd = openat(dir, "file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    for (uint64_t n = 0; n < 4 * MIB; n += sizeof block) {
        ssize_t wrote = write(fd, block, sizeof block);
        if (wrote < 0)
            return errno == EDQUOT || errno == ENOSPC ? 0 : -errno;
        if ((size_t)wrote < sizeof block)
            return 0;
    }
    return -EOPNOTSUPP;
}

static int try_driver(const struct disk_driver *driver, int root, uint32_t id)
{
    driver->remove(root, TRIAL);
    int rc = driver->make(root, TRIAL, id);
    int dir = rc < 0 ? rc : openat(root, TRIAL, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (rc == 0 && dir < 0)
        rc = -errno;
    if (rc == 0)
        rc = driver->limit(dir, MIB);
    if (rc == 0)
        rc = write_past(dir);
    if (dir >= 0)
        close(dir);
    if (rc != -EEXIST)
        driver->remove(root, TRIAL);
    return rc;
}

/* ---- choosing ---- */

static bool has_entries(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    bool any = false;
    if (!dir)
        return false;
    for (struct dirent *entry; !any && (entry = readdir(dir));)
        any = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return any;
}

/* Without an image, its place is where the files are. */
static int open_plain(struct disk *d, struct err *err)
{
    if (d->root < 0)
        d->root = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return d->root < 0 ? err_os(err, errno, "open %s", d->path) : 0;
}

static int open_quota(struct disk *d, const struct disk_options *o, struct err *err)
{
    static const struct disk_driver *const drivers[] = {&disk_project, &disk_btrfs};
    int rc = open_plain(d, err), first = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(drivers); i++) {
        int tried = try_driver(drivers[i], d->root, d->id_first);
        if (tried == 0) {
            d->driver = drivers[i];
            snprintf(d->name, sizeof d->name, "%s", drivers[i]->name);
            return 0;
        }
        first = first ? first : tried;
    }
    if (rc < 0)
        return rc;
    return err_os(err, -first, "no quotas on the file system of %s", o->state_dir);
}

/* Sparse, so it may be as large as what is free; but not so large that it looks as if there were
 * more, for a host that is full below it is an error of the disk to the file system in it. */
static int image_size(const struct disk *d, uint64_t wanted, uint64_t *ret, struct err *err)
{
    struct disk_room room = {0};
    int rc = disk_room(d, &room);
    if (rc < 0)
        return err_os(err, -rc, "room for a disk image");
    uint64_t reserve = disk_reserve(&room), most = room.free > reserve ? room.free - reserve : 0;
    if (most < GIB || most < wanted)
        return err_set(err, ERR_UNAVAILABLE, 0, "a disk image of %llu MiB is more than is free",
                       (unsigned long long)((wanted ? wanted : GIB) / MIB));
    *ret = (wanted ? wanted : most) & ~(MIB - 1);
    return 0;
}

/* kept: the image is there, with files in it. */
static int open_image(struct disk *d, const struct disk_options *o, bool kept, struct err *err)
{
    uint64_t bytes = 0;
    int rc = kept ? 0 : image_size(d, o->image_bytes, &bytes, err);
    if (rc == 0)
        rc = disk_image_open(o->state_dir, d->path, kept ? 0 : bytes, &d->image, err);
    if (rc < 0)
        return rc;
    fd_closep(&d->root); /* what is below the image */
    d->root = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = d->root < 0 ? -errno : kept ? 0 : try_driver(d->image.driver, d->root, d->id_first);
    if (rc < 0) {
        fd_closep(&d->root);
        disk_image_close(&d->image, !kept);
        return err_os(err, -rc, "disk image: its limits do not bind");
    }
    d->driver = d->image.driver;
    snprintf(d->name, sizeof d->name, "%s", d->image.name);
    return 0;
}

static int open_unbound(struct disk *d, const char *name, struct err *err)
{
    snprintf(d->name, sizeof d->name, "%s", name);
    return open_plain(d, err);
}

static int open_auto(struct disk *d, const struct disk_options *o, bool in_image, bool plain,
                     struct err *err)
{
    struct err quota = {0}, image = {0};
    if (in_image)
        return open_image(d, o, true, err);
    if (open_quota(d, o, &quota) == 0)
        return 0;
    if (plain)
        err_set(&image, ERR_CONFLICT, 0, "sandboxes are outside of it");
    else if (open_image(d, o, false, &image) == 0)
        return 0;
    snprintf(d->why, sizeof d->why, "%.100s; no image: %.120s", quota.message, image.message);
    return open_unbound(d, "guard", err);
}

static int choose(struct disk *d, const struct disk_options *o, struct err *err)
{
    bool attached, exists = disk_image_exists(o->state_dir, &attached);
    /* Of sandboxes that are parked there is nothing but their files. */
    bool in_image = attached || (exists && has_entries(d->state, "sandboxes"));
    bool plain = has_entries(d->state, "disk/files");
    if (in_image && o->backend != BOX_DISK_AUTO && o->backend != BOX_DISK_IMAGE)
        return err_set(err, ERR_CONFLICT, 0,
                       "there are sandboxes in the disk image of %s: end them first", o->state_dir);
    if (exists && !in_image) {
        _cleanup_free_ char *path = path_join(o->state_dir, "sandboxes.img");
        unlink(path);
    }
    switch (o->backend) {
    case BOX_DISK_AUTO:
        return open_auto(d, o, in_image, plain, err);
    case BOX_DISK_QUOTA:
        return open_quota(d, o, err);
    case BOX_DISK_IMAGE:
        if (plain && !in_image)
            return err_set(err, ERR_CONFLICT, 0, "sandboxes' files are in %s/disk: end them first",
                           o->state_dir);
        return open_image(d, o, in_image, err);
    case BOX_DISK_GUARD:
        snprintf(d->why, sizeof d->why, "asked for");
        return open_unbound(d, "guard", err);
    case BOX_DISK_NONE:
        snprintf(d->why, sizeof d->why, "asked for");
        d->unguarded = true;
        return open_unbound(d, "none", err);
    }
    return err_set(err, ERR_INVALID, 0, "no such disk backend");
}

/* Numbers of directories from before are not given again. */
static void skip_known(struct disk *d, const char *place)
{
    _cleanup_free_ char *path = path_join(d->path, place);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        _cleanup_close_ int fd =
            openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        uint32_t id = fd < 0 || !d->driver ? 0 : d->driver->id(fd);
        if (id >= d->id_first + d->next_id && id - d->id_first < ID_RANGE)
            d->next_id = id - d->id_first + 1;
    }
    closedir(dir);
}

int disk_open(const struct disk_options *options, struct disk **ret, struct err *err)
{
    struct disk *d = xcalloc(1, sizeof *d);
    d->root = d->state = -1;
    d->id_first = ID_FIRST + options->instance * (uint32_t)ID_RANGE;
    d->next_id = 1; /* 0: for trying out */
    d->path = path_join(options->state_dir, "disk");
    int rc = path_make_dirs(d->path, 0700);
    if (rc < 0)
        rc = err_os(err, -rc, "make %s", d->path);
    else if ((d->state = open(options->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        rc = err_os(err, errno, "open %s", options->state_dir);
    else
        rc = choose(d, options, err);
    if (rc < 0) {
        disk_close(d, false);
        return rc;
    }
    static const char *const places[] = {"files", "trash", "ready"};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        skip_known(d, places[i]);
    *ret = d;
    return 0;
}

void disk_close(struct disk *disk, bool remove)
{
    if (!disk)
        return;
    fd_closep(&disk->root);
    fd_closep(&disk->state);
    disk_image_close(&disk->image, remove);
    free(disk->path);
    free(disk);
}
