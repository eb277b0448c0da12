/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of directories by what file systems have for it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "box/ns/disk-internal.h"
#include "box/remove.h"

#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443 /* Linux 5.14; the same on all machines */
#endif

static int open_dir(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

/* ---- project quotas ----
 *
 * Every file made in a directory with PROJINHERIT belongs to the directory's project. Inside a
 * sandbox nobody can change that: the kernel reserves it to the host's user namespace. */

enum { PROJECT_QUOTA = 2 };

static int project_call(int fd, unsigned command, uint32_t id, void *arg)
{
    return syscall(SYS_quotactl_fd, fd, QCMD(command, PROJECT_QUOTA), id, arg) < 0 ? -errno : 0;
}

static uint32_t project_id(int dir)
{
    struct fsxattr attr;
    return ioctl(dir, FS_IOC_FSGETXATTR, &attr) < 0 ? 0 : attr.fsx_projid;
}

static int project_make(int at, const char *name, uint32_t id)
{
    if (mkdirat(at, name, 0700) < 0)
        return -errno;
    _cleanup_close_ int dir = open_dir(at, name);
    struct fsxattr attr;
    if (dir < 0 || ioctl(dir, FS_IOC_FSGETXATTR, &attr) < 0)
        return dir < 0 ? dir : -errno;
    attr.fsx_projid = id;
    attr.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    return ioctl(dir, FS_IOC_FSSETXATTR, &attr) < 0 ? -errno : 0;
}

static int project_limit(int dir, uint64_t bytes)
{
    enum { BYTES_A_FILE = 4096, FILES_MIN = 65536 };
    uint64_t files = bytes / BYTES_A_FILE;
    struct dqblk quota = {.dqb_bhardlimit = (bytes + 1023) / 1024,
                          .dqb_ihardlimit = bytes && files < FILES_MIN ? FILES_MIN : files,
                          .dqb_valid = QIF_BLIMITS | QIF_ILIMITS};
    uint32_t id = project_id(dir);
    return id ? project_call(dir, Q_SETQUOTA, id, &quota) : -EOPNOTSUPP;
}

static int project_used(int dir, uint64_t *ret_bytes)
{
    struct dqblk quota = {0};
    uint32_t id = project_id(dir);
    int rc = id ? project_call(dir, Q_GETQUOTA, id, &quota) : -EOPNOTSUPP;
    if (rc == 0)
        *ret_bytes = quota.dqb_curspace;
    return rc;
}

static int project_remove(int at, const char *name)
{
    /* The kernel forgets a project that has neither files nor limits. */
    _cleanup_close_ int dir = open_dir(at, name);
    if (dir >= 0)
        project_limit(dir, 0);
    return remove_tree(at, name);
}

const struct disk_driver disk_project = {"project quota", project_make,   project_limit,
                                         project_used,    project_remove, project_id};

/* ---- btrfs ----
 *
 * Each directory is a subvolume and so has a quota group of its own. Ending one is a matter of
 * microseconds however much is in it; the kernel takes it apart later. What the kernel keeps about
 * files counts like their contents, so their number is bounded too. */

static int btrfs_tree(int dir, uint64_t *ret_id)
{
    struct btrfs_ioctl_ino_lookup_args args = {.objectid = 256};
    if (ioctl(dir, BTRFS_IOC_INO_LOOKUP, &args) < 0)
        return -errno;
    *ret_id = args.treeid;
    return 0;
}

static int btrfs_make(int at, const char *name, uint32_t id)
{
    struct btrfs_ioctl_vol_args args = {0};
    snprintf(args.name, sizeof args.name, "%s", name);
    if (ioctl(at, BTRFS_IOC_SUBVOL_CREATE, &args) < 0)
        return -errno;
    return fchmodat(at, name, 0700, 0) < 0 ? -errno : 0;
}

static int btrfs_limit(int dir, uint64_t bytes)
{
    uint64_t tree = 0;
    int rc = btrfs_tree(dir, &tree);
    if (rc < 0)
        return rc;
    struct btrfs_ioctl_qgroup_limit_args args = {
        .qgroupid = tree,
        .lim = {.flags = BTRFS_QGROUP_LIMIT_MAX_RFER, .max_rfer = bytes ? bytes : UINT64_MAX}};
    return ioctl(dir, BTRFS_IOC_QGROUP_LIMIT, &args) < 0 ? -errno : 0;
}

static uint64_t read_number(int at, const char *file)
{
    char text[24];
    uint64_t value;
    _cleanup_close_ int fd = openat(at, file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    struct str rest = {text, n > 0 ? (size_t)n : 0}, line = STR("");
    str_split(&rest, '\n', &line);
    return str_to_u64(line, UINT64_MAX, &value) == 0 ? value : 0;
}

static int btrfs_used(int dir, uint64_t *ret_bytes)
{
    struct btrfs_ioctl_fs_info_args info = {0};
    uint64_t tree = 0;
    int rc = btrfs_tree(dir, &tree);
    if (rc < 0)
        return rc;
    if (ioctl(dir, BTRFS_IOC_FS_INFO, &info) < 0)
        return -errno;
    /* The kernel's own numbers: those on disk are as old as the last commit. */
    const uint8_t *u = info.fsid;
    char path[128];
    snprintf(path, sizeof path,
             "/sys/fs/btrfs/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x/"
             "qgroups/0_%" PRIu64,
             u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
             u[14], u[15], tree);
    _cleanup_close_ int group = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group < 0)
        return -EOPNOTSUPP;
    *ret_bytes = read_number(group, "referenced") + read_number(group, "rsv_data");
    return 0;
}

static int btrfs_remove(int at, const char *name)
{
    struct btrfs_ioctl_vol_args args = {0};
    snprintf(args.name, sizeof args.name, "%s", name);
    if (ioctl(at, BTRFS_IOC_SNAP_DESTROY, &args) == 0 || errno == ENOENT)
        return 0;
    return remove_tree(at, name); /* half made, or of an older kernel */
}

static uint32_t btrfs_id(int dir)
{
    return 0;
}

const struct disk_driver disk_btrfs = {"subvolume quota", btrfs_make,   btrfs_limit,
                                       btrfs_used,        btrfs_remove, btrfs_id};

int disk_btrfs_enable(int dir)
{
    enum { ENABLE_SIMPLE = 4 }; /* Linux 6.7: who wrote it pays, without walking trees */
    struct btrfs_ioctl_quota_ctl_args args = {.cmd = ENABLE_SIMPLE};
    return ioctl(dir, BTRFS_IOC_QUOTA_CTL, &args) < 0 && errno != EEXIST ? -errno : 0;
}
