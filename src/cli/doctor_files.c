/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory's file system: whether sandboxes' roots can be built on it, tried for real in
 * a mount namespace that nobody else sees; quotas, clones, room. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fanotify.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/disk.h"
#include "box/remove.h"
#include "cli/doctor.h"

/* <linux/mount.h> and <sys/mount.h> do not go together. */
extern int mount(const char *source, const char *target, const char *type, unsigned long flags,
                 const void *data);

enum { MAP_BASE = 0x20000000, MAP_COUNT = 65536, REC = 16384, PRIVATE = 1 << 18 };

/* A user namespace with the ids of a sandbox, as a descriptor, or -errno. */
static int make_userns(void)
{
    int ready[2];
    char byte, path[64], map[64];
    if (pipe(ready) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        close(ready[0]);
        if (unshare(CLONE_NEWUSER) == 0 && write(ready[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    int rc = read(ready[0], &byte, 1) == 1 ? 0 : -EPERM;
    close(ready[0]);
    snprintf(map, sizeof map, "0 %d %d", MAP_BASE, MAP_COUNT);
    snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
    if (rc == 0)
        rc = fd_write_file(AT_FDCWD, path, map);
    snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
    if (rc == 0)
        rc = fd_write_file(AT_FDCWD, path, map);
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    if (rc == 0 && (rc = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        rc = -errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return rc;
}

/* dir/name with its ids mapped, attached at dir/name-mapped. */
static bool map_ids(int dir, const char *name, const char *target, int userns)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
    int tree = (int)syscall(SYS_open_tree, dir, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    return tree >= 0 &&
           syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0 &&
           syscall(SYS_move_mount, tree, "", dir, target, MOVE_MOUNT_F_EMPTY_PATH) == 0;
}

static const char *build_root(const char *path, int dir)
{
    static const char *const names[] = {"lower",       "lower-mapped", "state", "state-mapped",
                                        "state/upper", "state/work",   "root"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (mkdirat(dir, names[i], 0755) < 0)
            return "make directories";
    int userns = make_userns();
    if (userns < 0) {
        errno = -userns;
        return "make a user namespace";
    }
    if (!map_ids(dir, "lower", "lower-mapped", userns) ||
        !map_ids(dir, "state", "state-mapped", userns))
        return "map ids of a mount";
    /* As the sandbox's child does: the mounter must be in the range that is mapped. */
    prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
    setfsgid(MAP_BASE);
    setfsuid(MAP_BASE);
    if (fchdir(dir) < 0 ||
        mount("overlay", "root", "overlay", 0,
              "lowerdir=lower-mapped,upperdir=state-mapped/upper,workdir=state-mapped/work,"
              "redirect_dir=on,index=on,nfs_export=on") < 0)
        return "mount an overlay";
    _cleanup_close_ int fd = open("root/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? "write into an overlay" : NULL;
}

static bool can_watch(void)
{
    _cleanup_close_ int fd =
        fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_CLOEXEC, O_RDONLY);
    return fd >= 0 && fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
                                    FAN_CREATE | FAN_DELETE | FAN_ONDIR, AT_FDCWD, "root") == 0;
}

/* Writes "step: error" or "ok" and whether the overlay can be watched as a whole. */
static void try_root(void *arg, int fd)
{
    const char *path = arg;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, REC | PRIVATE, NULL) < 0) {
        dprintf(fd, "make a mount namespace: %s", strerror(errno));
        return;
    }
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *step = dir < 0 ? "open" : build_root(path, dir);
    if (step)
        dprintf(fd, "%s: %s", step, strerror(errno));
    else
        dprintf(fd, "ok%s", can_watch() ? "" : "?");
}

static void look_at_root(struct doctor *d, const char *path)
{
    char text[160];
    doctor_try(try_root, (void *)(uintptr_t)path, text, sizeof text);
    bool good = strncmp(text, "ok", 2) == 0;
    doctor_add(d, good ? DOCTOR_GOOD : DOCTOR_MISSING, "overlay of mapped ids",
               "this is what the root of a sandbox is made of",
               "keep --state on ext4, xfs or btrfs of the host itself (not on overlayfs, as "
               "inside a container), with Linux 5.19 or newer",
               "%s",
               good      ? "a root was built and written to"
               : text[0] ? text
                         : "no answer");
    if (good)
        doctor_add(d, text[2] == '\0' ? DOCTOR_GOOD : DOCTOR_LIMITED, "watch of an overlay",
                   "directories are watched one by one, by inotify",
                   "a kernel with fanotify and exportable overlayfs (6.6)", "%s",
                   text[2] == '\0' ? "fanotify on the whole of it" : "not with fanotify");
}

static const char *type_name(long magic)
{
    static const struct {
        long magic;
        const char *name;
    } types[] = {{0xef53, "ext4"},      {0x58465342, "xfs"},       {0x9123683e, "btrfs"},
                 {0x01021994, "tmpfs"}, {0x794c7630, "overlayfs"}, {0x6969, "nfs"},
                 {0x2fc12fc1, "zfs"},   {0xf2f52010, "f2fs"}};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (types[i].magic == magic)
            return types[i].name;
    return "another";
}

static void look_at_room(struct doctor *d, const char *path)
{
    struct statfs fs;
    struct statvfs vfs;
    if (statfs(path, &fs) < 0 || statvfs(path, &vfs) < 0)
        return;
    double free_gib = (double)vfs.f_bavail * (double)vfs.f_frsize / (1 << 30);
    double free_inodes = vfs.f_files ? (double)vfs.f_favail : 1e9; /* btrfs counts none */
    bool room = free_gib >= 5 && free_inodes >= 200000;
    doctor_add(d, room ? DOCTOR_GOOD : DOCTOR_LIMITED, "state directory",
               "a template takes about 1 GiB, and sandboxes may write 10 GiB each by default",
               "make room, or put --state on another file system", "%s on %s, %.1f GiB free", path,
               type_name(fs.f_type), free_gib);
}

/* What a server would choose, tried for real: writes the verdict, what it is, and why not better. */
static void try_disk(void *arg, int fd)
{
    const struct disk_options options = {.state_dir = arg};
    struct disk *disk;
    struct err err;
    const char *why;
    if (disk_open(&options, &disk, &err) < 0) {
        dprintf(fd, "-%s", err.message);
        return;
    }
    bool binds = disk_binds(disk, &why);
    dprintf(fd, "%c%s%s%s", binds ? '+' : '-', disk_name(disk), *why ? ": " : "", why);
    disk_close(disk, true);
}

static void look_at_disk(struct doctor *d, const char *path)
{
    char text[400];
    doctor_try(try_disk, (void *)(uintptr_t)path, text, sizeof text);
    doctor_add(d, text[0] == '+' ? DOCTOR_GOOD : DOCTOR_LIMITED, "disk limits",
               "NOTHING BINDS a sandbox to its disk limit: a guard ends who is found beyond it, and "
               "the largest before the disk is full",
               "Linux 6.7 or newer with btrfs and loop devices, and the package btrfs-progs; or ext4: "
               "tune2fs -O project,quota DEVICE (unmounted) and mount with prjquota; xfs: mount with "
               "prjquota",
               "%s", text[0] ? text + 1 : "no answer");
}

static void look_at_clones(struct doctor *d, int dir)
{
    int from = openat(dir, "clone-from", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int to = openat(dir, "clone-to", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool works = from >= 0 && to >= 0 && write(from, "x", 1) == 1 && ioctl(to, FICLONE, from) == 0;
    doctor_add(d, works ? DOCTOR_GOOD : DOCTOR_LIMITED, "file clones",
               "snapshots copy file content instead of sharing it",
               "keep --state on xfs (reflink=1) or btrfs", "%s", works ? "work" : strerror(errno));
    fd_closep(&from);
    fd_closep(&to);
}

static void look_at_template(struct doctor *d)
{
    _cleanup_free_ char *path = xasprintf("%s/base/rootfs", d->templates_dir);
    bool there = access(path, F_OK) == 0;
    doctor_add(d, there ? DOCTOR_GOOD : DOCTOR_LIMITED, "template base",
               "there is nothing to make sandboxes from yet", "make template, or --templates DIR",
               "%s%s", there ? "" : "not in ", d->templates_dir);
}

void doctor_look_at_files(struct doctor *d)
{
    char parent[PATH_MAX], scratch[PATH_MAX + 32];
    doctor_existing(d->state_dir, parent, sizeof parent);
    look_at_room(d, parent);
    look_at_template(d);
    snprintf(scratch, sizeof scratch, "%s/.carrel-doctor-XXXXXX", parent);
    if (!mkdtemp(scratch)) {
        doctor_add(d, DOCTOR_MISSING, "state directory", "nothing can be stored",
                   "run as root, or choose a --state that can be written", "%s: %s", parent,
                   strerror(errno));
        return;
    }
    _cleanup_close_ int dir = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    look_at_root(d, scratch);
    look_at_disk(d, scratch);
    look_at_clones(d, dir);
    _cleanup_close_ int above = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    remove_tree(above, strrchr(scratch, '/') + 1);
}
