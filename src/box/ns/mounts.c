/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of a sandbox's root as detached mounts whose ids are mapped to its slot. Made by the
 * launcher, attached by the child: so the zygote needs no view of the host's files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/host-internal.h"
#include "box/ns/hostlayer.h"

#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif

static int detach(int dir, int userns, uint64_t attributes, const char *what, int *ret,
                  struct err *err)
{
    _cleanup_close_ int fd =
        (int)syscall(SYS_open_tree, dir, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return err_os(err, errno, "clone the mount of %s", what);
    struct mount_attr attr = {.attr_set = attributes | MOUNT_ATTR_IDMAP,
                              .propagation = MS_PRIVATE,
                              .userns_fd = (uint64_t)userns};
    if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
        return err_os(err, errno, "map the ids of %s", what);
    *ret = TAKE_FD(fd);
    return 0;
}

static int open_beneath(int dir, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

/* Builds the host layer when a template is first used, or was replaced since. */
static int need_layer(struct box_host *host, const struct box_plan *plan, int rootfs,
                      struct err *err)
{
    struct stat st;
    if (fstat(rootfs, &st) < 0)
        return err_os(err, errno, "template %s", plan->template_name);
    struct layer *layer = host->layers;
    while (layer && strcmp(layer->name, plan->template_name) != 0)
        layer = layer->next;
    if (layer && layer->dev == st.st_dev && layer->ino == st.st_ino)
        return 0;
    struct hostlayer_options options = {.ca_bundle = host->options.ca_bundle,
                                        .dns_count = host->options.dns_count};
    memcpy(options.dns, host->options.dns, sizeof options.dns);
    int rc = hostlayer_build(plan->template_dir, plan->layer_dir, &options, err);
    if (rc < 0)
        return rc;
    if (!layer) {
        layer = xcalloc(1, sizeof *layer);
        snprintf(layer->name, sizeof layer->name, "%s", plan->template_name);
        layer->next = host->layers;
        host->layers = layer;
    }
    layer->dev = st.st_dev;
    layer->ino = st.st_ino;
    return 0;
}

static int read_rootfs(int rootfs, const char *template_name, char ret[BOX_ROOTFS_SIZE],
                       struct err *err)
{
    struct statx st;
    if (statx(rootfs, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) < 0)
        return err_os(err, errno, "template %s", template_name);
    /* An inode number is given again, but not with the same time of birth. */
    snprintf(ret, BOX_ROOTFS_SIZE, "%llu.%lld.%u", (unsigned long long)st.stx_ino,
             (long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
    return 0;
}

static int open_rootfs(struct box_host *host, const char *template_name, struct err *err)
{
    char path[BOX_TEMPLATE_MAX + 16];
    snprintf(path, sizeof path, "%s/rootfs", template_name);
    int rootfs = open_beneath(host->templates_fd, path);
    if (rootfs == -ENOENT)
        return err_set(err, ERR_NOT_FOUND, 0, "template %s does not exist", template_name);
    return rootfs < 0 ? err_os(err, -rootfs, "template %s", template_name) : rootfs;
}

int mounts_rootfs(struct box_host *host, const char *template_name, char ret[BOX_ROOTFS_SIZE],
                  struct err *err)
{
    _cleanup_close_ int rootfs = open_rootfs(host, template_name, err);
    return rootfs < 0 ? rootfs : read_rootfs(rootfs, template_name, ret, err);
}

int mounts_chain(struct box_host *host, const struct box_plan *plan, int userns,
                 int ret[BOX_LAYERS_MAX], struct err *err)
{
    const struct box_chain *chain = &plan->chain;
    for (size_t i = 0; i < chain->count; i++) {
        char path[BOX_ID_MAX + 16];
        snprintf(path, sizeof path, "%s/upper", chain->ids[i]);
        _cleanup_close_ int dir = open_beneath(host->snapshots.dir, path);
        if (dir < 0)
            return err_os(err, -dir, "snapshot %s", chain->ids[i]);
        int rc = detach(dir, userns, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, "a snapshot",
                        &ret[chain->count - 1 - i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int mounts_template(struct box_host *host, const struct box_plan *plan, int userns, int *ret_lower,
                    int *ret_layer, struct err *err)
{
    _cleanup_close_ int rootfs = open_rootfs(host, plan->template_name, err);
    if (rootfs < 0)
        return rootfs;
    int rc = need_layer(host, plan, rootfs, err);
    if (rc < 0)
        return rc;
    _cleanup_close_ int layer_dir = open_beneath(host->layers_fd, plan->template_name);
    if (layer_dir < 0)
        return err_os(err, -layer_dir, "host layer of template %s", plan->template_name);
    const uint64_t attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
    _cleanup_close_ int lower = -1, layer = -1;
    rc = detach(rootfs, userns, attributes, "the template", &lower, err);
    if (rc == 0)
        rc = detach(layer_dir, userns, attributes, "the host layer", &layer, err);
    if (rc < 0)
        return rc;
    *ret_lower = TAKE_FD(lower);
    *ret_layer = TAKE_FD(layer);
    return 0;
}

int mounts_files(int files_dir, int userns, int *ret, struct err *err)
{
    return detach(files_dir, userns, MOUNT_ATTR_NODEV, "the sandbox's files", ret, err);
}
