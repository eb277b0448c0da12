/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a sandbox from the host. */
#include "cli/selftest_outside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/caps.h"
#include "box/ns/cgroup.h"
#include "box/record.h"

enum { TEXT_MAX = 1 << 20, PIDS_MAX = 64, LEFT_S = 10 };

/* Verdict and evidence of one row while it is looked at. */
struct finding {
    bool open, unknown;
    char text[400];
};

static void note(struct finding *f, bool good, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void note(struct finding *f, bool good, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    /* What is wrong takes the place of what is right. */
    if (!good && !f->open)
        f->text[0] = '\0';
    if (!good || !f->open) {
        size_t n = strlen(f->text);
        snprintf(f->text + n, sizeof f->text - n, "%s%s", n ? ", " : "", text);
    }
    f->open = f->open || !good;
}

static void report_as(struct selftest_report *report, const char *name, const char *row,
                      const char *what, const struct finding *f)
{
    enum selftest_verdict verdict = f->open      ? SELFTEST_OPEN
                                    : f->unknown ? SELFTEST_UNKNOWN
                                                 : SELFTEST_HELD;
    selftest_report_set(report, SELFTEST_OUTSIDE, name, row, what, verdict, "%s", f->text);
}

static char *slurp(const char *path)
{
    char *text = NULL;
    return fd_read_file(AT_FDCWD, path, TEXT_MAX, &text, NULL) < 0 ? NULL : text;
}

static char *slurp_proc(int pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return slurp(path);
}

int selftest_outside_pid(const struct selftest_outside *o)
{
    struct box_record record;
    _cleanup_free_ char *path = xasprintf("%s/sandboxes/%s/" BOX_RECORD_FILE, o->state_dir, o->id);
    _cleanup_free_ char *text = slurp(path);
    if (!text || box_record_parse(str_from(text), &record) < 0)
        return 0;
    return (int)record.pid;
}

/* ---- its processes ---- */

struct group {
    char path[PATH_MAX]; /* of the sandbox in the hierarchy that has the controller */
    bool v2;
};

/* The sandbox's own group in the hierarchy of a controller, path "" if there is none. Init and agent
 * are not in it (box/ns/cgroup.h), so it is found by the sandbox's id. */
static struct group find_group(const char *id, unsigned controller)
{
    struct group found = {0};
    struct cgroup_layout layout;
    _cleanup_free_ char *mounts = slurp("/proc/self/mountinfo");
    if (!mounts)
        return found;
    cgroup_layout_parse(str_from(mounts), STR("memory cpu pids"), &layout);
    for (size_t i = 0; i < layout.count; i++) {
        const struct cgroup_hierarchy *h = &layout.hierarchies[i];
        for (int n = 0; n < BOX_INSTANCES && h->controllers & controller; n++) {
            snprintf(found.path, sizeof found.path, "%s/carrel-%d/%s", h->mount, n, id);
            found.v2 = h->v2;
            if (access(found.path, F_OK) == 0)
                return found;
        }
    }
    found.path[0] = '\0';
    return found;
}

/* All processes of the sandbox: those in its init's pid namespace. */
static size_t find_pids(int init, int pids[PIDS_MAX])
{
    char path[64];
    struct stat own, other;
    size_t count = 0;
    uint64_t pid;
    snprintf(path, sizeof path, "/proc/%d/ns/pid", init);
    DIR *proc = opendir("/proc");
    if (!proc || stat(path, &own) < 0) {
        if (proc)
            closedir(proc);
        return 0;
    }
    for (struct dirent *entry; count < PIDS_MAX && (entry = readdir(proc));) {
        if (str_to_u64(str_from(entry->d_name), INT_MAX, &pid) < 0)
            continue;
        snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)pid);
        if (stat(path, &other) == 0 && other.st_ino == own.st_ino && other.st_dev == own.st_dev)
            pids[count++] = (int)pid;
    }
    closedir(proc);
    return count;
}

/* The text after "key:" in a status file, up to the end of its line. */
static struct str status_value(const char *status, const char *key)
{
    struct str rest = str_from(status), line, name;
    while (status && str_split(&rest, '\n', &line))
        if (str_split(&line, ':', &name) && str_eqz(name, key))
            return str_trim(line);
    return STR("");
}

static void look_at_status(int pid, struct finding *ids, struct finding *caps,
                           struct finding *filter)
{
    enum { FIRST_FREE_UID = 65536 };
    static const char *const id_keys[] = {"Uid", "Gid"};
    static const char *const cap_keys[] = {"CapPrm", "CapEff", "CapBnd"};
    _cleanup_free_ char *status = slurp_proc(pid, "status");
    unsigned a, b, c, d;
    if (!status)
        return; /* ended meanwhile */
    for (size_t i = 0; i < ARRAY_SIZE(id_keys); i++) {
        struct str v = status_value(status, id_keys[i]);
        bool good = sscanf(v.p, "%u %u %u %u", &a, &b, &c, &d) == 4 && a >= FIRST_FREE_UID &&
                    b >= FIRST_FREE_UID && c >= FIRST_FREE_UID && d >= FIRST_FREE_UID;
        note(ids, good, "%d %s %.*s", pid, id_keys[i], STR_ARG(v));
    }
    for (size_t i = 0; i < ARRAY_SIZE(cap_keys); i++) {
        unsigned long long set = ~0ULL;
        struct str v = status_value(status, cap_keys[i]);
        bool good = sscanf(v.p, "%llx", &set) == 1 && (set & ~CAPS_BOUNDING) == 0;
        note(caps, good, "%d %s %llx", pid, cap_keys[i], set);
    }
    struct str mode = status_value(status, "Seccomp");
    note(filter, str_eqz(mode, "2"), "%d mode %.*s", pid, STR_ARG(mode));
}

static void look_at_processes(int init, struct selftest_report *report)
{
    struct finding ids = {0}, caps = {0}, filter = {0};
    int pids[PIDS_MAX];
    size_t count = find_pids(init, pids);
    for (size_t i = 0; i < count; i++)
        look_at_status(pids[i], &ids, &caps, &filter);
    ids.unknown = caps.unknown = filter.unknown = count == 0;
    report_as(report, "outside-ids", "7", "all its users are nobody outside", &ids);
    report_as(report, "outside-capabilities", "5", "no process of it has more than it needs",
              &caps);
    report_as(report, "outside-seccomp", "6", "each process is under the filter", &filter);
}

static void look_at_namespaces(int init, struct selftest_report *report)
{
    static const char *const kinds[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};
    struct finding f = {0};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        char path[64];
        struct stat own, its;
        snprintf(path, sizeof path, "/proc/%d/ns/%s", init, kinds[i]);
        bool read = stat(path, &its) == 0;
        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
        read = read && stat(path, &own) == 0;
        f.unknown = f.unknown || !read;
        note(&f, !read || own.st_ino != its.st_ino, "%s", kinds[i]);
    }
    report_as(report, "outside-namespaces", "4", "each namespace is its own", &f);
}

/* ---- descriptors and mounts ---- */

static bool expected_descriptor(const char *target, const struct stat *st, dev_t root)
{
    static const char *const kinds[] = {"socket:", "pipe:", "anon_inode:", "/memfd:"};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strncmp(target, kinds[i], strlen(kinds[i])) == 0)
            return true;
    if (strcmp(target, "/dev/null") == 0 || strncmp(target, "/dev/pts/", 9) == 0)
        return true;
    /* What the agent reads memory and cpu time from; a file and not the directory above it. */
    if (strstr(target, "/cgroup") || strstr(target, "memory.") || strstr(target, "cpu"))
        return S_ISREG(st->st_mode);
    return st->st_dev == root;
}

static void look_at_descriptors(int init, struct selftest_report *report)
{
    struct finding f = {0};
    int pids[PIDS_MAX];
    char path[64];
    struct stat root;
    size_t count = find_pids(init, pids), seen = 0;
    snprintf(path, sizeof path, "/proc/%d/root", init);
    f.unknown = stat(path, &root) < 0;
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/proc/%d/fd", pids[i]);
        DIR *dir = opendir(path);
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
            char target[PATH_MAX];
            struct stat st;
            ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
            if (n < 0 || fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
                continue;
            target[n] = '\0';
            seen++;
            if (!expected_descriptor(target, &st, root.st_dev))
                note(&f, false, "%d has %s", pids[i], target);
        }
        if (dir)
            closedir(dir);
    }
    f.unknown = f.unknown || seen == 0;
    if (!f.open)
        note(&f, true, "%zu descriptors of %zu processes", seen, count);
    report_as(report, "outside-descriptors", "1", "no process of it holds a thing of the host", &f);
}

static void look_at_mounts(const struct selftest_outside *o, int init,
                           struct selftest_report *report)
{
    struct finding f = {0};
    char path[64];
    struct stat its, own;
    _cleanup_free_ char *text = slurp_proc(init, "mountinfo");
    if (text) {
        unsigned count = 0;
        for (const char *p = text; *p; p++)
            count += *p == '\n';
        note(&f, count < 32, "%u mounts", count);
        note(&f, !strstr(text, o->state_dir), "no path of the host");
    }
    f.unknown = !text;
    snprintf(path, sizeof path, "/proc/%d/root/dev/pts", init);
    if (stat(path, &its) == 0 && stat("/dev/pts", &own) == 0)
        note(&f, its.st_dev != own.st_dev, "terminals of its own");
    snprintf(path, sizeof path, "/proc/%d/root", init);
    if (stat(path, &its) == 0 && stat("/", &own) == 0)
        note(&f, its.st_dev != own.st_dev, "root of its own");
    report_as(report, "outside-mounts", "3", "its mounts show nothing of the host", &f);
}

/* ---- limits, network, files ---- */

static void look_at_limit(const char *id, unsigned controller, const char *v1_file,
                          const char *v2_file, const char *expected, struct finding *f)
{
    struct group group = find_group(id, controller);
    _cleanup_free_ char *path = xasprintf("%s/%s", group.path, group.v2 ? v2_file : v1_file);
    _cleanup_free_ char *text = slurp(path);
    size_t n = text ? strcspn(text, "\n") : 0;
    bool good = text && n == strlen(expected) && strncmp(text, expected, n) == 0;
    note(f, good, "%s %.*s%s%s", group.v2 ? v2_file : v1_file, (int)n, text ? text : "",
         good ? "" : " instead of ", good ? "" : expected);
}

static void look_at_limits(const struct selftest_outside *o, struct selftest_report *report)
{
    enum { PERIOD = 100000 };
    struct finding f = {0};
    char text[64];
    bool v2 = find_group(o->id, CGROUP_CPU).v2;
    snprintf(text, sizeof text, "%llu", (unsigned long long)o->memory_bytes);
    look_at_limit(o->id, CGROUP_MEMORY, "memory.limit_in_bytes", "memory.max", text, &f);
    snprintf(text, sizeof text, "%u", o->pids);
    look_at_limit(o->id, CGROUP_PIDS, "pids.max", "pids.max", text, &f);
    snprintf(text, sizeof text, v2 ? "%u %d" : "%u", o->cpu_millis * (PERIOD / 1000), PERIOD);
    look_at_limit(o->id, CGROUP_CPU, "cpu.cfs_quota_us", "cpu.max", text, &f);
    report_as(report, "outside-limits", "8", "its limits are in force", &f);
}

static void look_at_links(struct selftest_report *report)
{
    struct finding f = {0};
    unsigned count = 0;
    struct if_nameindex *links = if_nameindex();
    for (struct if_nameindex *link = links; link && link->if_index; link++)
        count += link->if_name[0] == 'c' && link->if_name[1] == 'r';
    if (links)
        if_freenameindex(links);
    f.unknown = !links;
    note(&f, count > 0, "%u links to sandboxes", count);
    report_as(report, "outside-links", "10", "its only way out is a link of ours", &f);
}

static void look_at_mode(const char *path, mode_t most, uid_t owner, struct finding *f)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        note(f, false, "%s: %s", path, strerror(errno));
        return;
    }
    const char *name = strrchr(path, '/');
    note(f, (st.st_mode & 07777 & ~most) == 0 && st.st_uid == owner, "%s %o of %u", name + 1,
         st.st_mode & 07777, st.st_uid);
}

/* A set-uid program that a sandbox's root makes belongs to the host's root on the disk: nobody on
 * the host may get at it. */
static void look_at_files(const struct selftest_outside *o, struct selftest_report *report)
{
    struct finding f = {0};
    _cleanup_free_ char *sandboxes = xasprintf("%s/sandboxes", o->state_dir);
    _cleanup_free_ char *own = xasprintf("%s/%s", sandboxes, o->id);
    _cleanup_free_ char *layers = xasprintf("%s/layers", o->state_dir);
    _cleanup_free_ char *disk = xasprintf("%s/disk", o->state_dir);
    _cleanup_free_ char *socket = xasprintf("%s/%s/agent.sock", o->run_dir, o->id);
    look_at_mode(sandboxes, 0700, 0, &f);
    look_at_mode(own, 0700, 0, &f);
    look_at_mode(layers, 0700, 0, &f);
    look_at_mode(disk, 0700, 0, &f);
    look_at_mode(socket, 0660, 0, &f);
    report_as(report, "outside-files", "7", "nobody on the host gets at its files and its socket",
              &f);
}

/* A process that is not dumpable belongs to root, so that nobody else may look into it. */
static void look_at_agent(int init, struct selftest_report *report)
{
    struct finding f = {0};
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/mem", init);
    f.unknown = stat(path, &st) < 0;
    note(&f, f.unknown || st.st_uid == 0, "%d belongs to %u", init, f.unknown ? 0 : st.st_uid);
    report_as(report, "outside-init", "2", "init is closed to its own users by ownership", &f);
}

void selftest_outside_look(const struct selftest_outside *o, struct selftest_report *report)
{
    int init = selftest_outside_pid(o);
    if (init <= 0) {
        selftest_report_set(report, SELFTEST_OUTSIDE, "outside-init", "2", "its init can be found",
                            SELFTEST_UNKNOWN, "no usable record of %s", o->id);
        return;
    }
    look_at_namespaces(init, report);
    look_at_processes(init, report);
    look_at_agent(init, report);
    look_at_descriptors(init, report);
    look_at_mounts(o, init, report);
    look_at_limits(o, report);
    look_at_links(report);
    look_at_files(o, report);
}

/* ---- what is left ---- */

static bool mentions(const char *path, const char *id)
{
    _cleanup_free_ char *text = slurp(path);
    return text && strstr(text, id);
}

static void find_left_groups(const char *id, struct finding *f)
{
    struct cgroup_layout layout;
    _cleanup_free_ char *mounts = slurp("/proc/self/mountinfo");
    if (!mounts)
        return;
    cgroup_layout_parse(str_from(mounts), STR("memory cpu pids"), &layout);
    for (size_t i = 0; i < layout.count; i++) {
        for (int n = 0; n < BOX_INSTANCES; n++) {
            _cleanup_free_ char *path =
                xasprintf("%s/carrel-%d/%s", layout.hierarchies[i].mount, n, id);
            if (access(path, F_OK) == 0)
                note(f, false, "%s", path);
        }
    }
}

static struct finding find_left(const struct selftest_outside *o, int pid)
{
    struct finding f = {0};
    char path[PATH_MAX];
    static const char *const places[] = {"sandboxes", "disk/files", "disk/trash"};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        snprintf(path, sizeof path, "%s/%s/%s", o->state_dir, places[i], o->id);
        note(&f, access(path, F_OK) < 0, "%s", i == 0 ? "no directory" : "no files");
    }
    snprintf(path, sizeof path, "%s/%s", o->run_dir, o->id);
    note(&f, access(path, F_OK) < 0, "no socket");
    find_left_groups(o->id, &f);
    note(&f, !mentions("/proc/self/mountinfo", o->id), "no mount");
    if (pid > 0) {
        snprintf(path, sizeof path, "/proc/%d", pid);
        note(&f, access(path, F_OK) < 0, "no process");
    }
    return f;
}

void selftest_outside_left(const struct selftest_outside *o, int pid,
                           struct selftest_report *report)
{
    int64_t until = clock_mono_ns() + LEFT_S * CLOCK_S;
    struct finding f = find_left(o, pid);
    while (f.open && clock_mono_ns() < until) {
        poll(NULL, 0, 10);
        f = find_left(o, pid);
    }
    report_as(report, "outside-nothing-left", "13", "its end leaves nothing behind", &f);
}
