/* SPDX-License-Identifier: Apache-2.0 */
/* /proc and /sys: what can be written, and what tells about the host. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "probe/probe.h"

enum { DEPTH_MAX = 8, PROC_MAGIC = 0x9fa0, SYSFS_MAGIC = 0x62656572 };

struct walk {
    unsigned files, writable;
    struct probe_report *out;
};

/* Counts the files below dir that may be written. Asking is enough: the answer is the one that open
 * would give, permissions and read-only mounts included. Takes the descriptor. */
static void walk(struct walk *w, int fd, const char *path, int depth)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *name = entry->d_name;
        char below[512];
        if (name[0] == '.' || entry->d_type == DT_LNK)
            continue;
        /* Processes are the business of peers.c. */
        if (depth == 0 && (name[strspn(name, "0123456789")] == '\0' || strcmp(name, "sys") == 0) &&
            strcmp(path, "/proc") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, name);
        if (entry->d_type == DT_DIR) {
            int child = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
            if (child >= 0 && depth < DEPTH_MAX)
                walk(w, child, below, depth + 1);
            else
                fd_closep(&child);
            continue;
        }
        w->files++;
        struct stat st;
        /* A mask: /dev/null in its place may be written, into nowhere. */
        if (faccessat(fd, name, W_OK, AT_EACCESS) < 0 || fstatat(fd, name, &st, 0) < 0 ||
            S_ISCHR(st.st_mode))
            continue;
        w->writable++;
        probe_note(w->out, false, "%s", below);
    }
    closedir(dir);
}

static void walk_tree(const char *path, struct probe_report *out)
{
    struct walk w = {.out = out};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        probe_say(out, PROBE_HELD, "%s: %s", path, probe_errno(errno));
        return;
    }
    walk(&w, fd, path, 0);
    if (w.writable == 0)
        probe_say(out, PROBE_HELD, "none of %u files", w.files);
}

static void try_sysctl(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    walk_tree("/proc/sys", out);
}

static void try_proc(const struct probe *self, const struct probe_input *in,
                     struct probe_report *out)
{
    walk_tree("/proc", out);
}

/* The ones with a name, opened for real. Opening alone changes nothing. */
static const char *const doors[] = {"/proc/sys/kernel/core_pattern",
                                    "/proc/sys/kernel/modprobe",
                                    "/proc/sys/kernel/hotplug",
                                    "/proc/sys/kernel/hostname",
                                    "/proc/sys/kernel/domainname",
                                    "/proc/sys/kernel/ns_last_pid",
                                    "/proc/sys/kernel/randomize_va_space",
                                    "/proc/sys/kernel/sysrq",
                                    "/proc/sys/kernel/shmmax",
                                    "/proc/sys/kernel/yama/ptrace_scope",
                                    "/proc/sys/vm/drop_caches",
                                    "/proc/sys/vm/overcommit_memory",
                                    "/proc/sys/vm/panic_on_oom",
                                    "/proc/sys/fs/binfmt_misc/register",
                                    "/proc/sys/fs/mqueue/msg_max",
                                    "/proc/sys/net/ipv4/ip_forward",
                                    "/proc/sys/net/ipv4/ip_unprivileged_port_start",
                                    "/proc/sys/net/ipv4/conf/all/rp_filter",
                                    "/proc/sys/user/max_user_namespaces",
                                    "/proc/sysrq-trigger",
                                    "/proc/irq/default_smp_affinity",
                                    "/proc/mtrr",
                                    "/proc/scsi/scsi",
                                    "/sys/kernel/uevent_helper",
                                    "/sys/kernel/mm/transparent_hugepage/enabled",
                                    "/sys/kernel/vmcoreinfo",
                                    "/sys/power/state",
                                    "/sys/fs/cgroup/release_agent",
                                    "/sys/fs/cgroup/memory/release_agent",
                                    "/sys/fs/cgroup/cgroup.procs"};

static void try_doors(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    unsigned closed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(doors); i++) {
        _cleanup_close_ int fd = open(doors[i], O_WRONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat st;
        if (fd < 0 || (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode)))
            closed++;
        else
            probe_note(out, false, "%s opens for writing", doors[i]);
    }
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%u of %zu closed", closed, ARRAY_SIZE(doors));
}

/* What must be absent, refused or empty. */
static const char *const masked[] = {"/proc/kcore",
                                     "/proc/kallsyms",
                                     "/proc/keys",
                                     "/proc/key-users",
                                     "/proc/timer_list",
                                     "/proc/sched_debug",
                                     "/proc/kmsg",
                                     "/proc/kpagecount",
                                     "/proc/kpageflags",
                                     "/proc/kpagecgroup",
                                     "/proc/vmallocinfo",
                                     "/proc/slabinfo",
                                     "/proc/iomem",
                                     "/proc/latency_stats",
                                     "/proc/cmdline",
                                     "/proc/acpi/wakeup",
                                     "/proc/scsi/scsi",
                                     "/proc/sysrq-trigger",
                                     "/proc/pagetypeinfo",
                                     "/proc/lockdep",
                                     "/proc/allocinfo",
                                     "/dev/mem",
                                     "/dev/kmem",
                                     "/dev/port",
                                     "/dev/kmsg",
                                     "/sys/kernel/notes",
                                     "/sys/kernel/debug",
                                     "/sys/kernel/tracing",
                                     "/sys/kernel/security",
                                     "/sys/firmware",
                                     "/sys/fs/cgroup"};

static void try_masked(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    unsigned closed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(masked); i++) {
        char byte[16];
        _cleanup_close_ int fd = open(masked[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        ssize_t n = fd < 0 ? -1 : read(fd, byte, sizeof byte);
        if (fd >= 0 && n < 0 && errno == EISDIR)
            probe_note(out, false, "%s is a directory", masked[i]);
        else if (n > 0)
            probe_note(out, false, "%s can be read", masked[i]);
        else
            closed++;
    }
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%u of %zu closed", closed, ARRAY_SIZE(masked));
}

static void try_sys(const struct probe *self, const struct probe_input *in,
                    struct probe_report *out)
{
    struct statfs fs;
    DIR *dir = opendir("/sys");
    if (!dir) {
        probe_say(out, PROBE_HELD, "no /sys: %s", probe_errno(errno));
        return;
    }
    unsigned entries = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        entries += entry->d_name[0] != '.';
    closedir(dir);
    if (statfs("/sys", &fs) < 0 || (fs.f_type != SYSFS_MAGIC && entries == 0)) {
        probe_say(out, PROBE_HELD, "empty");
        return;
    }
    if (!(fs.f_flags & ST_RDONLY))
        probe_say(out, PROBE_OPEN, "mounted for writing, %u entries", entries);
    else
        walk_tree("/sys", out);
}

static void try_proc_is_proc(const struct probe *self, const struct probe_input *in,
                             struct probe_report *out)
{
    struct statfs fs;
    if (statfs("/proc", &fs) < 0 || fs.f_type != PROC_MAGIC) {
        probe_say(out, PROBE_OPEN, "/proc is something else");
        return;
    }
    struct statvfs vfs;
    if (statvfs("/proc/sys", &vfs) < 0 || !(vfs.f_flag & ST_RDONLY))
        probe_note(out, false, "/proc/sys is not read-only");
    if (statvfs("/proc", &vfs) == 0 && (vfs.f_flag & ST_NOSUID) && (vfs.f_flag & ST_NOEXEC))
        probe_note(out, true, "nosuid, noexec");
    else
        probe_note(out, false, "mounted without nosuid or noexec");
}

static const struct probe probes[] = {
    {"proc-mount", "4", "/proc is its own, /proc/sys is read-only", try_proc_is_proc, NULL},
    {"sysctl", "4", "no setting of the kernel can be written", try_sysctl, NULL},
    {"proc-files", "4", "nothing else in /proc can be written", try_proc, NULL},
    {"kernel-doors", "4", "the known ways to run code as the host are closed", try_doors, NULL},
    {"kernel-secrets", "4", "what tells about the host's kernel is masked", try_masked, NULL},
    {"sys", "4", "/sys is absent or read-only", try_sys, NULL},
};

const struct probe_group probe_proc = {"proc", probes, ARRAY_SIZE(probes), 20};
