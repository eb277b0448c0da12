/* SPDX-License-Identifier: Apache-2.0 */
/* From a clone of the zygote to a sandbox's init, in one straight line. The order matters: what
 * needs the host's root comes first, the user namespace closes that door, the system call filter
 * and the capabilities close the rest. */
#include "box/ns/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <linux/securebits.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "box/ns/caps.h"

static int join_cgroups(const int handles[BOX_HANDLES])
{
    for (int h = BOX_HANDLE_TASKS; h < BOX_HANDLES; h++)
        if (handles[h] >= 0 && write(handles[h], "0", 1) != 1)
            return -errno;
    return 0;
}

/* Files of the upper layer are created with the ids of the overlay's mounter, and the mount of the
 * upper layer maps only the sandbox's range: so the mounter must be in it. Capabilities stay with
 * it through NO_SETUID_FIXUP. What ends up on disk is counted from 0, whatever the slot. */
static int become_mounter(uint32_t uid)
{
    if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0)
        return -errno;
    setfsgid(uid);
    setfsuid(uid);
    return 0;
}

/* A template may hold anything, symbolic links in place of directories too. Nobody changes it
 * while we look (lower layers are constant, the upper one is not yet reachable), so a check before
 * the use is enough. */
static int check_target(const char *target)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, target, &how, sizeof how);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static bool begins(const char *path, const char *prefix)
{
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

/* Whether the target is the template's doing: not in the zygote's own root, and not in what has been
 * mounted over the template before it. */
static bool of_template(const char *target)
{
    return begins(target, BOX_ROOT "/") && !begins(target, BOX_ROOT "/proc/") &&
           !begins(target, BOX_ROOT "/dev/");
}

static int bind_mount(const struct box_mount *m)
{
    if (mount(m->source, m->target, NULL, MS_BIND, NULL) < 0)
        return -errno;
    if (!begins(m->source, BOX_ROOT "/") && (m->flags & ~(uint64_t)BOX_ZYGOTE_FLAGS) == 0)
        return 0; /* it has its source's */
    return mount(NULL, m->target, NULL, MS_REMOUNT | MS_BIND | m->flags, NULL) < 0 ? -errno : 0;
}

/* The file system of source is the sandbox's own, and nobody is in there yet. */
static int show_file(const struct box_mount *m)
{
    char text[sizeof m->options + 2];
    int len = snprintf(text, sizeof text, "%.*s\n", (int)sizeof m->options, m->options);
    int fd = open(m->source, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
    if (fd < 0)
        return -errno;
    int rc = write(fd, text, (size_t)len) == len ? 0 : -EIO;
    close(fd);
    if (rc == 0 && mount(m->source, m->target, NULL, MS_BIND, NULL) < 0)
        rc = -errno;
    if (unlink(m->source) < 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && mount(NULL, m->target, NULL, MS_REMOUNT | MS_BIND | m->flags, NULL) < 0)
        rc = -errno;
    return rc;
}

static int do_mount(const struct box_mount *m, const int handles[BOX_HANDLES])
{
    int rc = of_template(m->target) ? check_target(m->target) : 0;
    if (rc < 0)
        return rc;
    switch ((enum box_mount_kind)m->kind) {
    case BOX_MOUNT_ATTACH:
        if (m->handle >= BOX_HANDLES)
            return -EINVAL;
        if (syscall(SYS_move_mount, handles[m->handle], "", AT_FDCWD, m->target,
                    MOVE_MOUNT_F_EMPTY_PATH) < 0)
            return -errno;
        return 0;
    case BOX_MOUNT_NEW:
        return mount(m->type, m->target, m->type, m->flags, m->options) < 0 ? -errno : 0;
    case BOX_MOUNT_BIND:
        return bind_mount(m);
    case BOX_MOUNT_FILE:
        return show_file(m);
    }
    return -EINVAL;
}

static int do_mounts(const struct box_inside *in, const int handles[BOX_HANDLES],
                     struct box_status *status)
{
    for (uint32_t i = 0; i < in->mount_count && i < BOX_MOUNTS_MAX; i++) {
        snprintf(status->step, sizeof status->step, "mount %s", in->mounts[i].target);
        int rc = do_mount(&in->mounts[i], handles);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int protect_from_oom(int adj)
{
    /* The old file on purpose: it does not lower the least value that user processes may give
     * themselves later, as oom_score_adj would. Without SYS_RESOURCE it cannot be done at all;
     * then the agent's only protection is the higher score that it gives to others. */
    char text[8];
    int fd = open(BOX_ROOT "/proc/self/oom_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int n = snprintf(text, sizeof text, "%d", adj);
    int rc = write(fd, text, (size_t)n) < 0 && errno != EACCES ? -errno : 0;
    close(fd);
    return rc;
}

static int change_root(void)
{
    if (chdir(BOX_ROOT) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return -errno;
    /* The old root lies on top of the new one now. */
    if (umount2(".", MNT_DETACH) < 0)
        return -errno;
    return chdir("/") < 0 ? -errno : 0;
}

static int tidy_descriptors(const int handles[BOX_HANDLES], bool keep_stderr)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return -errno;
    for (int fd = 0; fd < (keep_stderr ? 2 : 3); fd++)
        if (dup2(null, fd) < 0)
            return -errno;
    if (null > 2)
        close(null);
    /* Those to keep came first and so have the lowest numbers (plan.h). */
    int last = -1;
    for (int h = 0; h <= BOX_HANDLE_USERNS; h++)
        if (handles[h] > last)
            last = handles[h];
    return syscall(SYS_close_range, (unsigned)last + 1, ~0U, 0) < 0 ? -errno : 0;
}

static int become_root_inside(int userns)
{
    if (setns(userns, CLONE_NEWUSER) < 0)
        return -errno;
    close(userns);
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return -errno;
    return 0;
}

static int set_limits(const struct box_inside *in)
{
    const struct rlimit nofile = {in->nofile_soft, in->nofile_hard};
    /* 1 stops the kernel from starting the host's core dump helper, 0 does not (core(5)). */
    const struct rlimit core = {1, 1};
    if (setrlimit(RLIMIT_NOFILE, &nofile) < 0 || setrlimit(RLIMIT_CORE, &core) < 0)
        return -errno;
    return 0;
}

static int filter_syscalls(const struct sock_fprog *filter)
{
    /* Loaded with the sandbox's own SYS_ADMIN, not with no_new_privs: sudo must work inside. */
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter) < 0 ? -errno : 0;
}

/* The name goes into the status before the call, so that the call may be more exact (mounts). */
#define STEP(name, call)                                           \
    do {                                                           \
        snprintf(status->step, sizeof status->step, "%s", (name)); \
        int step_rc = (call);                                      \
        if (step_rc == 0 && strcmp(in->fail_step, (name)) == 0)    \
            step_rc = -EIO;                                        \
        if (step_rc < 0)                                           \
            return step_rc;                                        \
    } while (0)

static int carry_out(const struct box_inside *in, const int handles[BOX_HANDLES],
                     const struct sock_fprog *filter, bool keep_stderr, struct box_status *status)
{
    STEP("join cgroups", join_cgroups(handles));
    STEP("network namespace", setns(handles[BOX_HANDLE_NETNS], CLONE_NEWNET) < 0 ? -errno : 0);
    STEP("host name", sethostname(in->hostname, strnlen(in->hostname, 64)) < 0 ? -errno : 0);
    STEP("file system ids", become_mounter(in->uid_base));
    STEP("mounts", do_mounts(in, handles, status));
    STEP("out-of-memory score", protect_from_oom(in->oom_adj));
    STEP("change root", change_root());
    STEP("close descriptors", tidy_descriptors(handles, keep_stderr));
    STEP("limits", set_limits(in));
    STEP("session", setsid() < 0 ? -errno : 0);
    STEP("user namespace", become_root_inside(handles[BOX_HANDLE_USERNS]));
    STEP("capability bounding set", caps_bound(in->capabilities));
    STEP("system call filter", filter_syscalls(filter));
    STEP("capabilities", caps_set(in->capabilities));
    STEP("not dumpable", prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0);
    return 0;
}

int inside_enter(const struct box_inside *in, const int handles[BOX_HANDLES],
                 const struct sock_fprog *filter, bool keep_stderr)
{
    struct box_status status = {0};
    /* From here on none is lost: a signal from outside that comes before init waits for signals
     * would be dropped, as PID 1 has no default action. */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGCHLD, SIG_DFL);
    int rc = carry_out(in, handles, filter, keep_stderr, &status);
    if (rc == 0)
        memset(&status, 0, sizeof status);
    status.os = -rc;
    /* A launcher that is gone cannot own this sandbox: then it must not live. */
    ssize_t n = write(handles[BOX_HANDLE_STATUS], &status, sizeof status);
    close(handles[BOX_HANDLE_STATUS]);
    if (rc == 0 && n != (ssize_t)sizeof status)
        rc = -EPIPE;
    return rc;
}
