/* SPDX-License-Identifier: Apache-2.0 */
/* A file system of our own in a sparse file on a loop device. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "box/ns/disk-internal.h"

#define IMAGE_FILE "sandboxes.img"

/* Nothing in an image is of use without its sandboxes, so it keeps no checksums. Blocks that are freed go back
 * to the host by disk_image_trim: to have it done with each of them costs more than all else. */
static const struct kind {
    const char *type, *name, *options;
    const struct disk_driver *driver;
    const char *mkfs[8];
} kinds[] = {
    {"btrfs",
     "btrfs image",
     "nodatasum,nodiscard",
     &disk_btrfs,
     {"mkfs.btrfs", "-q", "-f", "-m", "single", "-d", "single"}},
    {"xfs", "xfs image", "prjquota", &disk_project, {"mkfs.xfs", "-q", "-f", "-K"}},
};

/* ---- loop devices ---- */

static int open_loop(unsigned number, int flags)
{
    char path[32];
    snprintf(path, sizeof path, "/dev/loop%u", number);
    int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* The number of the device that the file is attached to, or -1. Other devices are only looked at. */
static int find_loop(const struct stat *image)
{
    DIR *dir = opendir("/sys/block");
    int found = -1;
    if (!dir)
        return -1;
    for (struct dirent *entry; found < 0 && (entry = readdir(dir));) {
        struct str name = str_from(entry->d_name);
        uint64_t number;
        struct loop_info64 info;
        if (!str_starts(name, STR("loop")))
            continue;
        if (str_to_u64((struct str){name.p + 4, name.len - 4}, 1U << 20, &number) < 0)
            continue;
        _cleanup_close_ int fd = open_loop((unsigned)number, O_RDONLY);
        if (fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
            info.lo_device == image->st_dev && info.lo_inode == image->st_ino)
            found = (int)number;
    }
    closedir(dir);
    return found;
}

/* Attaches the file; the device is there as long as *ret_fd is open or it is mounted. */
static int attach(int image, unsigned *ret_number, int *ret_fd)
{
    _cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return -errno;
    static const uint32_t flags[] = {LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, LO_FLAGS_AUTOCLEAR};
    int rc = -EBUSY;
    /* Another may take the free device before us. */
    for (int i = 0; i < 64 && (rc == -EBUSY || rc == -EINVAL); i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        _cleanup_close_ int fd = number < 0 ? -1 : open_loop((unsigned)number, O_RDWR);
        if (fd < 0)
            return number < 0 ? -errno : fd;
        struct loop_config config = {
            .fd = (uint32_t)image, .block_size = 4096, .info = {.lo_flags = flags[rc == -EINVAL]}};
        rc = ioctl(fd, LOOP_CONFIGURE, &config) < 0 ? -errno : 0;
        if (rc == 0) {
            *ret_number = (unsigned)number;
            *ret_fd = TAKE_FD(fd);
        }
    }
    return rc;
}

/* ---- making and mounting ---- */

static int run(const char *const argv[])
{
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    static char *const environment[] = {path, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    pid_t pid;
    int status;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    for (int fd = 0; fd < 3; fd++)
        posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    /* posix_spawnp looks along our own PATH, which need not have the administrator's programs. */
    int rc = ENOENT;
    static const char *const dirs[] = {"/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"};
    for (size_t i = 0; rc == ENOENT && i < ARRAY_SIZE(dirs); i++) {
        _cleanup_free_ char *program = path_join(dirs[i], argv[0]);
        rc = posix_spawn(&pid, program, &files, &attr, (char *const *)(uintptr_t)argv, environment);
    }
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    if (rc)
        return -rc;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int make_file_system(const struct kind *kind, const char *path)
{
    const char *argv[ARRAY_SIZE(kind->mkfs) + 2];
    size_t n = 0;
    while (n < ARRAY_SIZE(kind->mkfs) && kind->mkfs[n]) {
        argv[n] = kind->mkfs[n];
        n++;
    }
    argv[n++] = path;
    argv[n] = NULL;
    return run(argv);
}

static int mount_kind(const struct kind *kind, unsigned loop, const char *where)
{
    char device[32];
    snprintf(device, sizeof device, "/dev/loop%u", loop);
    if (mount(device, where, kind->type, MS_NOATIME | MS_NODEV, kind->options) < 0)
        return -errno;
    _cleanup_close_ int dir = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = dir < 0 ? -errno : 0;
    if (rc == 0 && kind->driver == &disk_btrfs)
        rc = disk_btrfs_enable(dir);
    fd_closep(&dir);
    if (rc < 0)
        umount2(where, MNT_DETACH);
    return rc;
}

/* A new file with a file system of this kind, mounted. */
static int make_kind(const struct kind *kind, const char *path, uint64_t bytes, const char *where,
                     struct err *err)
{
    unlink(path);
    _cleanup_close_ int image =
        open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (image < 0 || ftruncate(image, (off_t)bytes) < 0)
        return err_os(err, errno, "make %s", path);
    int rc = make_file_system(kind, path);
    if (rc < 0)
        return err_os(err, -rc, "%s", kind->mkfs[0]);
    _cleanup_close_ int device = -1;
    unsigned number = 0;
    rc = attach(image, &number, &device);
    if (rc < 0)
        return err_os(err, -rc, "loop device");
    rc = mount_kind(kind, number, where);
    return rc < 0 ? err_os(err, -rc, "mount %s with quotas", kind->type) : 0;
}

/* What is mounted from here on is ours alone, and ends with us. */
static int own_namespace(void)
{
    static bool done;
    if (done)
        return 0;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return -errno;
    done = true;
    return 0;
}

bool disk_image_exists(const char *state_dir, bool *ret_attached)
{
    _cleanup_free_ char *path = path_join(state_dir, IMAGE_FILE);
    struct stat st;
    bool exists = lstat(path, &st) == 0 && S_ISREG(st.st_mode);
    *ret_attached = exists && find_loop(&st) >= 0;
    return exists;
}

/* The device of the image that is there, attached to one if it is not. */
static int need_loop(const char *path, int *ret_fd)
{
    struct stat st;
    unsigned number = 0;
    _cleanup_close_ int image = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (image < 0 || fstat(image, &st) < 0)
        return -errno;
    int loop = find_loop(&st);
    if (loop >= 0)
        return loop;
    int rc = attach(image, &number, ret_fd);
    return rc < 0 ? rc : (int)number;
}

static int open_kinds(struct disk_image *image, uint64_t bytes, struct err *err)
{
    _cleanup_close_ int device = -1; /* keeps it until it is mounted */
    int loop = bytes ? -1 : need_loop(image->path, &device);
    if (!bytes && loop < 0)
        return err_os(err, -loop, "attach %s", image->path);
    char reasons[200] = "";
    size_t used = 0;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct kind *kind = &kinds[i];
        struct err why = {0};
        int rc = loop >= 0 ? mount_kind(kind, (unsigned)loop, image->where)
                           : make_kind(kind, image->path, bytes, image->where, &why);
        if (rc == 0) {
            image->driver = kind->driver;
            image->name = kind->name;
            return 0;
        }
        if (loop >= 0)
            err_os(&why, -rc, "mount %s", kind->type);
        int n =
            snprintf(reasons + used, sizeof reasons - used, "%s%s", used ? "; " : "", why.message);
        used = n > 0 && used + (size_t)n < sizeof reasons ? used + (size_t)n : used;
    }
    return err_set(err, ERR_UNAVAILABLE, 0, "%s", reasons);
}

void disk_image_trim(int root)
{
    struct fstrim_range all = {.len = UINT64_MAX, .minlen = 64 << 10};
    /* What was removed lately is free from the next commit on. */
    if (syncfs(root) == 0)
        (void)ioctl(root, FITRIM, &all);
}

int disk_image_open(const char *state_dir, const char *where, uint64_t bytes,
                    struct disk_image *ret, struct err *err)
{
    struct disk_image image = {.path = path_join(state_dir, IMAGE_FILE), .where = xstrdup(where)};
    int rc = own_namespace();
    rc = rc < 0 ? err_os(err, -rc, "disk image: make a place for it")
                : open_kinds(&image, bytes, err);
    if (rc < 0) {
        bool attached;
        disk_image_close(&image, disk_image_exists(state_dir, &attached) && !attached);
        return rc;
    }
    *ret = image;
    return 0;
}

void disk_image_close(struct disk_image *image, bool remove)
{
    if (!image->path)
        return;
    umount2(image->where, MNT_DETACH);
    if (remove)
        unlink(image->path);
    free(image->path);
    free(image->where);
    *image = (struct disk_image){0};
}
