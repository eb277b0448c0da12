/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's side: version, namespaces, process handles, filters, control groups, limits. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/cgroup.h"
#include "cli/doctor.h"

static void look_at_version(struct doctor *d)
{
    struct utsname name;
    unsigned major_number = 0, minor_number = 0;
    uname(&name);
    sscanf(name.release, "%u.%u", &major_number, &minor_number);
    /* 5.19: overlayfs on id-mapped layers is the youngest thing that is needed. */
    bool good = major_number > 5 || (major_number == 5 && minor_number >= 19);
    doctor_add(d, good ? DOCTOR_GOOD : DOCTOR_MISSING, "kernel",
               "id-mapped layers under overlayfs need Linux 5.19", "boot a newer kernel",
               "%s %s on %s", name.sysname, name.release, name.machine);
}

static void look_at_user(struct doctor *d)
{
    char text[64];
    uid_t outside = 0;
    unsigned inside;
    bool own = true;
    _cleanup_free_ char *map = NULL;
    if (fd_read_file(AT_FDCWD, "/proc/self/uid_map", 4096, &map, NULL) == 0 &&
        sscanf(map, "%u %u", &inside, &outside) == 2)
        own = outside == 0;
    snprintf(text, sizeof text, "uid %u%s", geteuid(), own ? "" : " of a user namespace");
    doctor_add(d, geteuid() == 0 && own ? DOCTOR_GOOD : DOCTOR_MISSING, "privilege",
               "the launcher needs root, of the host and not of a container's user namespace",
               "run as root on the host, or in a privileged container", "%s", text);
}

/* ---- namespaces ---- */

static void make_namespaces(void *arg, int fd)
{
    static const struct {
        const char *name;
        unsigned long flag;
    } kinds[] = {{"user", CLONE_NEWUSER},    {"mnt", CLONE_NEWNS},  {"pid", CLONE_NEWPID},
                 {"net", CLONE_NEWNET},      {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS},
                 {"cgroup", CLONE_NEWCGROUP}};
    bool failed = false;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        int pidfd = -1;
        struct clone_args args = {.flags = kinds[i].flag | CLONE_PIDFD,
                                  .pidfd = (uint64_t)(uintptr_t)&pidfd,
                                  .exit_signal = SIGCHLD};
        long pid = syscall(SYS_clone3, &args, sizeof args);
        if (pid == 0)
            _exit(0);
        if (pid < 0) {
            failed = true;
            dprintf(fd, "%s: %s; ", kinds[i].name, strerror(errno));
        } else {
            waitpid((pid_t)pid, NULL, 0);
        }
    }
    if (!failed)
        dprintf(fd, "user mnt pid net ipc uts cgroup, by clone3 with pidfds");
}

static void look_at_namespaces(struct doctor *d)
{
    char text[160];
    bool good = doctor_try(make_namespaces, NULL, text, sizeof text) && !strchr(text, ';');
    doctor_add(d, good ? DOCTOR_GOOD : DOCTOR_MISSING, "namespaces", "sandboxes are made of them",
               "a kernel with CONFIG_*_NS; in a container: run it privileged; check "
               "user.max_user_namespaces",
               "%s", text);
}

static void look_at_seccomp(struct doctor *d)
{
    const uint32_t action = SECCOMP_RET_ERRNO;
    bool good = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    doctor_add(d, good ? DOCTOR_GOOD : DOCTOR_MISSING, "seccomp",
               "without a filter the whole kernel is open to sandboxes",
               "a kernel with CONFIG_SECCOMP_FILTER", "%s",
               good ? "filters with errno" : strerror(errno));
}

static void look_at_lsm(struct doctor *d)
{
    _cleanup_free_ char *list = NULL, *enforce = NULL, *restrict_userns = NULL;
    fd_read_file(AT_FDCWD, "/sys/kernel/security/lsm", 4096, &list, NULL);
    fd_read_file(AT_FDCWD, "/sys/fs/selinux/enforce", 16, &enforce, NULL);
    fd_read_file(AT_FDCWD, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 16,
                 &restrict_userns, NULL);
    bool selinux = enforce && enforce[0] == '1';
    /* The restriction of newer Ubuntus is for those without privilege; the launcher has it. */
    doctor_add(d, selinux ? DOCTOR_LIMITED : DOCTOR_GOOD, "security modules",
               "SELinux enforces: it may refuse mounts or labels that sandboxes need",
               "if creates fail, look at `ausearch -m avc` and allow what it names", "%s%s%s",
               list && list[0] ? list : "none visible", selinux ? ", SELinux enforcing" : "",
               restrict_userns && restrict_userns[0] == '1'
                   ? ", user namespaces restricted by AppArmor (not for root)"
                   : "");
}

/* ---- control groups ---- */

static void describe(const struct cgroup_layout *layout, char *out, size_t size)
{
    static const struct {
        unsigned controller;
        const char *name;
    } names[] = {{CGROUP_MEMORY, "memory"},
                 {CGROUP_CPU, "cpu"},
                 {CGROUP_PIDS, "pids"},
                 {CGROUP_FREEZER, "freezer"},
                 {CGROUP_CPUACCT, "cpuacct"}};
    size_t n = 0;
    out[0] = '\0';
    for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
        for (size_t i = 0; i < layout->count && n < size; i++) {
            const struct cgroup_hierarchy *h = &layout->hierarchies[i];
            if (h->controllers & names[k].controller)
                n += (size_t)snprintf(out + n, size - n, "%s%s:%s", n ? " " : "", names[k].name,
                                      h->v2 ? "v2" : "v1");
        }
    }
}

static void look_at_cgroups(struct doctor *d)
{
    struct cgroup_layout layout;
    char text[160];
    unsigned have = 0, v1 = 0, v2 = 0, locked = 0;
    _cleanup_free_ char *mounts = NULL, *controllers = NULL;
    if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &mounts, NULL) < 0)
        return;
    cgroup_layout_parse(str_from(mounts), STR("memory cpu pids"), &layout);
    for (size_t i = 0; i < layout.count; i++) {
        _cleanup_free_ char *path = xasprintf("%s/cgroup.controllers", layout.hierarchies[i].mount);
        if (layout.hierarchies[i].v2)
            fd_read_file(AT_FDCWD, path, 4096, &controllers, NULL);
    }
    cgroup_layout_parse(str_from(mounts), str_from(controllers ? controllers : ""), &layout);
    for (size_t i = 0; i < layout.count; i++) {
        have |= layout.hierarchies[i].controllers;
        v2 += layout.hierarchies[i].v2;
        v1 += !layout.hierarchies[i].v2;
        locked += access(layout.hierarchies[i].mount, W_OK) < 0;
    }
    describe(&layout, text, sizeof text);
    bool all = (have & CGROUP_MEMORY) && (have & CGROUP_CPU) && (have & CGROUP_PIDS);
    doctor_add(d, all && !locked ? DOCTOR_GOOD : DOCTOR_MISSING, "control groups",
               "limits of memory, cpu and processes would not bind, so no sandbox is made",
               "mount cgroup2 with these controllers and writable, or boot with "
               "systemd.unified_cgroup_hierarchy=1; in a container: --cgroupns=host -v "
               "/sys/fs/cgroup:/sys/fs/cgroup",
               "%s (%s)%s",
               layout.count == 0 ? "none"
               : v1 && v2        ? "hybrid"
               : v1              ? "v1"
                                 : "v2",
               text, locked ? ", not writable" : "");
}

/* ---- limits ---- */

static uint64_t read_number(const char *path)
{
    _cleanup_free_ char *text = NULL;
    uint64_t n = 0;
    if (fd_read_file(AT_FDCWD, path, 64, &text, NULL) < 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return str_to_u64(str_from(text), UINT64_MAX, &n) == 0 ? n : 0;
}

static void look_at_limit(struct doctor *d, const char *path, const char *feature, uint64_t least,
                          const char *follows, const char *mend)
{
    uint64_t n = read_number(path);
    if (n > 0)
        doctor_add(d, n >= least ? DOCTOR_GOOD : DOCTOR_LIMITED, feature, follows, mend, "%llu",
                   (unsigned long long)n);
}

static void look_at_limits(struct doctor *d)
{
    struct rlimit files;
    look_at_limit(d, "/proc/sys/user/max_user_namespaces", "max_user_namespaces", 2048,
                  "each sandbox takes one", "sysctl user.max_user_namespaces=16384");
    look_at_limit(d, "/proc/sys/kernel/pid_max", "pid_max", 65536,
                  "fewer processes in all than the limits of the sandboxes add up to",
                  "sysctl kernel.pid_max=4194304");
    look_at_limit(d, "/proc/sys/fs/inotify/max_user_instances", "inotify instances", 128,
                  "watching of files fails early inside",
                  "sysctl fs.inotify.max_user_instances=1024");
    look_at_limit(d, "/proc/sys/kernel/threads-max", "threads-max", 65536,
                  "fewer threads in all than the limits of the sandboxes add up to",
                  "sysctl kernel.threads-max=1000000");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        doctor_add(d, files.rlim_max >= 16384 ? DOCTOR_GOOD : DOCTOR_LIMITED, "open files",
                   "the launcher keeps some descriptors a sandbox: fewer sandboxes at a time",
                   "ulimit -Hn 1048576, or LimitNOFILE= of the service", "%llu",
                   (unsigned long long)files.rlim_max);
}

void doctor_look_at_kernel(struct doctor *d)
{
    look_at_version(d);
    look_at_user(d);
    look_at_namespaces(d);
    look_at_seccomp(d);
    look_at_lsm(d);
    look_at_cgroups(d);
    look_at_limits(d);
}
