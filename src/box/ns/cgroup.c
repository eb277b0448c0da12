/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups of sandboxes: making, limiting, freezing, killing, removing. */
#include "box/ns/cgroup.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

struct cgroup_host {
    struct cgroup_layout layout;
    char parent[64];
    int fds[BOX_CGROUPS_MAX];    /* the parent group in each hierarchy */
    int rescue[BOX_CGROUPS_MAX]; /* the doors of CGROUP_RESCUE, -1 where there is none */
};

const struct cgroup_layout *cgroup_host_layout(const struct cgroup_host *host)
{
    return &host->layout;
}

static const struct cgroup_hierarchy *with(const struct cgroup_host *host, unsigned controller,
                                           size_t *ret_index)
{
    for (size_t i = 0; i < host->layout.count; i++) {
        if (host->layout.hierarchies[i].controllers & controller) {
            *ret_index = i;
            return &host->layout.hierarchies[i];
        }
    }
    return NULL;
}

/* Turns controllers on for the children of the directory, those that are not on yet. */
static int enable(int dir, unsigned controllers, const char *where, struct err *err)
{
    static const struct {
        unsigned controller;
        const char *name;
    } names[] = {{CGROUP_MEMORY, "memory"}, {CGROUP_CPU, "cpu"}, {CGROUP_PIDS, "pids"}};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!(controllers & names[i].controller))
            continue;
        char text[16];
        snprintf(text, sizeof text, "+%s", names[i].name);
        int rc = fd_write_file(dir, "cgroup.subtree_control", text);
        if (rc < 0)
            return err_os(err, -rc, "cgroup: enable %s below %s", names[i].name, where);
    }
    return 0;
}

static int set_value(int dir, const char *file, uint64_t value, struct err *err)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    int rc = fd_write_file(dir, file, text);
    return rc < 0 ? err_os(err, -rc, "cgroup: set %s to %s", file, text) : 0;
}

static int limit_memory(int dir, bool v2, uint64_t bytes, struct err *err)
{
    int rc = set_value(dir, v2 ? "memory.max" : "memory.limit_in_bytes", bytes, err);
    if (rc < 0)
        return rc;
    /* No swap on top: where the kernel does not count swap, there is nothing to set. */
    rc = v2 ? set_value(dir, "memory.swap.max", 0, err)
            : set_value(dir, "memory.memsw.limit_in_bytes", bytes, err);
    return rc == -ENOENT ? 0 : rc;
}

static int limit_cpu(int dir, bool v2, uint32_t millis, struct err *err)
{
    enum { PERIOD_US = 100000 };
    uint64_t quota = (uint64_t)millis * PERIOD_US / 1000;
    if (quota < 1000)
        quota = 1000; /* the least that the kernel takes */
    if (!v2)
        return set_value(dir, "cpu.cfs_quota_us", quota, err);
    char text[48];
    snprintf(text, sizeof text, "%" PRIu64 " %d", quota, PERIOD_US);
    int rc = fd_write_file(dir, "cpu.max", text);
    return rc < 0 ? err_os(err, -rc, "cgroup: set cpu.max to %s", text) : 0;
}

/* Hierarchies that carry limits: the agent is not in the sandbox's group there. */
static bool has_limits(const struct cgroup_hierarchy *h)
{
    return h->controllers & (CGROUP_MEMORY | CGROUP_CPU | CGROUP_PIDS);
}

static int limit_group(int dir, const struct cgroup_hierarchy *h, const struct box_limits *limits,
                       struct err *err)
{
    int rc = 0;
    if ((h->controllers & CGROUP_MEMORY) && limits->memory_bytes)
        rc = limit_memory(dir, h->v2, limits->memory_bytes, err);
    if (rc == 0 && (h->controllers & CGROUP_CPU) && limits->cpu_millis)
        rc = limit_cpu(dir, h->v2, limits->cpu_millis, err);
    if (rc == 0 && (h->controllers & CGROUP_PIDS) && limits->pids)
        rc = set_value(dir, "pids.max", limits->pids, err);
    return rc;
}

/* The groups that are for all sandboxes, with bounds so that many of them cannot take the host. Of
 * the agents' memory, most is page cache of uploads. */
static const struct {
    const char *name;
    uint32_t memory_part; /* of the host's, as 1/n */
    uint32_t cpu_millis;  /* 0: no limit */
    uint32_t pids;
    uint32_t share; /* of CPU time, compared with a sandbox's */
} shared[] = {{CGROUP_AGENTS, 4, 0, 16 * BOX_SLOTS, 8}, {CGROUP_RESCUE, 64, 1000, 1024, 2}};

static int make_shared_one(int parent, const struct cgroup_hierarchy *h, size_t which,
                           struct err *err)
{
    struct sysinfo info;
    const char *name = shared[which].name;
    if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
        return err_os(err, errno, "cgroup: make %s in %s", name, h->mount);
    _cleanup_close_ int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || sysinfo(&info) < 0)
        return err_os(err, errno, "cgroup: open %s in %s", name, h->mount);
    const struct box_limits limits = {.memory_bytes = (uint64_t)info.totalram * info.mem_unit /
                                                      shared[which].memory_part,
                                      .cpu_millis = shared[which].cpu_millis,
                                      .pids = shared[which].pids};
    int rc = limit_group(dir, h, &limits, err);
    if (rc == 0 && (h->controllers & CGROUP_CPU))
        rc = set_value(dir, h->v2 ? "cpu.weight" : "cpu.shares",
                       (uint64_t)shared[which].share * (h->v2 ? 100 : 1024), err);
    return rc;
}

static int make_shared(int parent, const struct cgroup_hierarchy *h, struct err *err)
{
    int rc = make_shared_one(parent, h, 0, err); /* the agents' */
    for (size_t i = 1; rc == 0 && has_limits(h) && i < ARRAY_SIZE(shared); i++)
        rc = make_shared_one(parent, h, i, err);
    return rc;
}

static int open_parent(struct cgroup_host *host, size_t i, struct err *err)
{
    const struct cgroup_hierarchy *h = &host->layout.hierarchies[i];
    _cleanup_close_ int root = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_os(err, errno, "cgroup: open %s", h->mount);
    if (h->v2) {
        int rc = enable(root, h->controllers, h->mount, err);
        if (rc < 0)
            return rc;
    }
    if (mkdirat(root, host->parent, 0755) < 0 && errno != EEXIST)
        return err_os(err, errno, "cgroup: make %s/%s", h->mount, host->parent);
    _cleanup_close_ int fd = openat(root, host->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_os(err, errno, "cgroup: open %s/%s", h->mount, host->parent);
    if (h->v2) {
        int rc = enable(fd, h->controllers, host->parent, err);
        if (rc < 0)
            return rc;
    }
    int rc = make_shared(fd, h, err);
    if (rc < 0)
        return rc;
    host->fds[i] = TAKE_FD(fd);
    if (!has_limits(h))
        return 0;
    const char *door = h->v2 ? CGROUP_RESCUE "/cgroup.procs" : CGROUP_RESCUE "/tasks";
    host->rescue[i] = openat(host->fds[i], door, O_WRONLY | O_CLOEXEC);
    return host->rescue[i] < 0 ? err_os(err, errno, "cgroup: open %s", door) : 0;
}

int cgroup_host_open(const char *parent, struct cgroup_host **ret, struct err *err)
{
    _cleanup_free_ char *mountinfo = NULL;
    size_t len;
    int rc = fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &mountinfo, &len);
    if (rc < 0)
        return err_os(err, -rc, "read /proc/self/mountinfo");
    struct cgroup_host *host = xcalloc(1, sizeof *host);
    for (size_t i = 0; i < BOX_CGROUPS_MAX; i++)
        host->fds[i] = host->rescue[i] = -1;
    snprintf(host->parent, sizeof host->parent, "%s", parent);
    /* First without v2's controllers, to learn where v2 is mounted. */
    const struct str text = {mountinfo, len};
    _cleanup_free_ char *controllers = NULL;
    cgroup_layout_parse(text, STR("memory cpu pids"), &host->layout);
    for (size_t i = 0; i < host->layout.count; i++) {
        if (host->layout.hierarchies[i].v2) {
            _cleanup_free_ char *path =
                path_join(host->layout.hierarchies[i].mount, "cgroup.controllers");
            fd_read_file(AT_FDCWD, path, 4096, &controllers, NULL);
        }
    }
    cgroup_layout_parse(text, str_from(controllers ? controllers : ""), &host->layout);
    for (size_t i = 0; rc == 0 && i < host->layout.count; i++)
        rc = open_parent(host, i, err);
    if (rc == 0 && host->layout.count == 0)
        rc = err_set(err, ERR_UNAVAILABLE, 0, "no cgroup file system is mounted");
    if (rc < 0) {
        cgroup_host_close(host, true);
        return rc;
    }
    *ret = host;
    return 0;
}

void cgroup_host_close(struct cgroup_host *host, bool remove)
{
    if (!host)
        return;
    for (size_t i = 0; i < host->layout.count; i++) {
        if (remove) {
            if (host->fds[i] >= 0)
                for (size_t k = 0; k < ARRAY_SIZE(shared); k++)
                    unlinkat(host->fds[i], shared[k].name, AT_REMOVEDIR);
            _cleanup_free_ char *path = path_join(host->layout.hierarchies[i].mount, host->parent);
            rmdir(path);
        }
        fd_closep(&host->fds[i]);
        fd_closep(&host->rescue[i]);
    }
    free(host);
}

static int *first_free(int *fds, size_t count)
{
    size_t i = 0;
    while (i < count && fds[i] >= 0)
        i++;
    assert(i < count);
    return &fds[i];
}

/* The doors into the group. */
static int open_doors(const struct cgroup_host *host, size_t i, int dir, struct cgroup_fds *fds)
{
    const struct cgroup_hierarchy *h = &host->layout.hierarchies[i];
    const int flags = O_WRONLY | O_CLOEXEC;
    if (has_limits(h)) {
        int *door = first_free(fds->join, BOX_JOINS);
        *door = openat(dir, h->v2 ? "cgroup.procs" : "tasks", flags);
        if (*door < 0)
            return -errno;
        int *rescue = &fds->rescue[door - fds->join];
        *rescue = fcntl(host->rescue[i], F_DUPFD_CLOEXEC, 0);
        if (*rescue < 0)
            return -errno;
    } else if (!h->v2) {
        int *door = first_free(fds->tasks, BOX_TASKS);
        *door = openat(dir, "tasks", flags);
        return *door < 0 ? -errno : 0;
    }
    if (!h->v2)
        return 0;
    fds->directory = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    if (fds->directory < 0)
        return -errno;
    fds->leave = has_limits(h) ? openat(host->fds[i], CGROUP_AGENTS "/cgroup.procs", flags) : -1;
    return has_limits(h) && fds->leave < 0 ? -errno : 0;
}

static int make_in(const struct cgroup_host *host, size_t i, const char *id,
                   const struct box_limits *limits, struct cgroup_fds *fds, struct err *err)
{
    const struct cgroup_hierarchy *h = &host->layout.hierarchies[i];
    if (mkdirat(host->fds[i], id, 0755) < 0)
        return err_os(err, errno, "cgroup: make %s/%s/%s", h->mount, host->parent, id);
    _cleanup_close_ int dir = openat(host->fds[i], id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_os(err, errno, "cgroup: open %s/%s/%s", h->mount, host->parent, id);
    int rc = limit_group(dir, h, limits, err);
    if (rc < 0)
        return rc;
    const int flags = O_RDONLY | O_CLOEXEC;
    if (h->controllers & CGROUP_MEMORY) {
        fds->memory = openat(dir, h->v2 ? "memory.current" : "memory.usage_in_bytes", flags);
        fds->oom = openat(dir, h->v2 ? "memory.events" : "memory.oom_control", flags);
    }
    if (h->controllers & CGROUP_PIDS)
        fds->pids = openat(dir, "pids.current", flags);
    if (h->controllers & CGROUP_CPUACCT)
        fds->cpu = openat(dir, h->v2 ? "cpu.stat" : "cpuacct.usage", flags);
    rc = open_doors(host, i, dir, fds);
    return rc < 0 ? err_os(err, -rc, "cgroup: open the doors of %s", id) : 0;
}

void cgroup_fds_init(struct cgroup_fds *fds)
{
    *fds = (struct cgroup_fds){
        .directory = -1, .leave = -1, .memory = -1, .cpu = -1, .oom = -1, .pids = -1};
    memset(fds->tasks, -1, sizeof fds->tasks);
    memset(fds->join, -1, sizeof fds->join);
    memset(fds->rescue, -1, sizeof fds->rescue);
}

void cgroup_fds_done(struct cgroup_fds *fds)
{
    fd_closep(&fds->directory);
    fd_closep(&fds->leave);
    fd_closep(&fds->memory);
    fd_closep(&fds->cpu);
    fd_closep(&fds->oom);
    fd_closep(&fds->pids);
    for (size_t i = 0; i < BOX_TASKS; i++)
        fd_closep(&fds->tasks[i]);
    for (size_t i = 0; i < BOX_JOINS; i++)
        fd_closep(&fds->join[i]);
    for (size_t i = 0; i < BOX_JOINS; i++)
        fd_closep(&fds->rescue[i]);
}

int cgroup_prepare(const struct cgroup_host *host, const char *name,
                   const struct box_limits *limits, struct cgroup_fds *fds, struct err *err)
{
    unsigned wanted = (limits->memory_bytes ? CGROUP_MEMORY : 0) |
                      (limits->cpu_millis ? CGROUP_CPU : 0) | (limits->pids ? CGROUP_PIDS : 0);
    unsigned have = 0;
    for (size_t i = 0; i < host->layout.count; i++)
        have |= host->layout.hierarchies[i].controllers;
    if (wanted & ~have)
        return err_set(err, ERR_UNAVAILABLE, 0, "this host has no cgroup controller for %s",
                       wanted & ~have & CGROUP_MEMORY ? "memory"
                       : wanted & ~have & CGROUP_CPU  ? "cpu"
                                                      : "pids");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < host->layout.count; i++)
        if (!host->layout.hierarchies[i].v2)
            rc = make_in(host, i, name, limits, fds, err);
    return rc;
}

int cgroup_place(const struct cgroup_host *host, const char *name, const char *id,
                 const struct box_limits *limits, struct cgroup_fds *fds, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < host->layout.count; i++) {
        if (host->layout.hierarchies[i].v2)
            rc = make_in(host, i, id, limits, fds, err);
        else if (renameat(host->fds[i], name, host->fds[i], id) < 0)
            rc = err_os(err, errno, "cgroup: name %s/%s/%s", host->layout.hierarchies[i].mount,
                        host->parent, id);
    }
    return rc;
}

/* Reads a file of the sandbox's group into text; false if that fails. */
static bool read_text(const struct cgroup_host *host, size_t i, const char *id, const char *file,
                      char *text, size_t size)
{
    char path[BOX_ID_MAX + 48];
    snprintf(path, sizeof path, "%s/%s", id, file);
    _cleanup_close_ int fd = openat(host->fds[i], path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : fd_read_all(fd, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* Value of "key value" in lines of text, or 0. */
static uint64_t line_value(const char *text, const char *key)
{
    struct str rest = str_from(text), line;
    while (str_split(&rest, '\n', &line)) {
        struct str name;
        uint64_t value;
        if (str_split(&line, ' ', &name) && str_eqz(name, key) &&
            str_to_u64(str_trim(line), UINT64_MAX, &value) == 0)
            return value;
    }
    return 0;
}

static bool is_state(const struct cgroup_host *host, size_t i, const char *id, bool freeze)
{
    char text[256];
    if (host->layout.hierarchies[i].v2)
        return read_text(host, i, id, "cgroup.events", text, sizeof text) &&
               line_value(text, "frozen") == (freeze ? 1 : 0);
    return read_text(host, i, id, "freezer.state", text, sizeof text) &&
           strcmp(text, freeze ? "FROZEN\n" : "THAWED\n") == 0;
}

bool cgroup_freezes_agent(const struct cgroup_host *host)
{
    size_t i;
    const struct cgroup_hierarchy *h = with(host, CGROUP_FREEZER, &i);
    return h && !has_limits(h);
}

bool cgroup_frozen(const struct cgroup_host *host, const char *id)
{
    size_t i;
    return with(host, CGROUP_FREEZER, &i) && is_state(host, i, id, true);
}

static int set_frozen(const struct cgroup_host *host, size_t i, const char *id, bool freeze)
{
    char path[BOX_ID_MAX + 24];
    bool v2 = host->layout.hierarchies[i].v2;
    snprintf(path, sizeof path, "%s/%s", id, v2 ? "cgroup.freeze" : "freezer.state");
    const char *word = v2 ? (freeze ? "1" : "0") : (freeze ? "FROZEN" : "THAWED");
    return fd_write_file(host->fds[i], path, word);
}

int cgroup_freeze(const struct cgroup_host *host, const char *id, bool freeze)
{
    size_t i;
    if (!with(host, CGROUP_FREEZER, &i))
        return -EOPNOTSUPP;
    int rc = set_frozen(host, i, id, freeze);
    if (rc < 0)
        return rc;
    /* Read again and again: a poll on v2's cgroup.events is delayed by up to 16 ms, and on v1 it
     * is the reading that moves FREEZING on to FROZEN. */
    int64_t until = clock_mono_ns() + CLOCK_S / 2;
    while (!is_state(host, i, id, freeze)) {
        if (clock_mono_ns() > until) {
            if (freeze)
                set_frozen(host, i, id, false);
            return -ETIMEDOUT;
        }
        const struct timespec pause = {0, 20000};
        nanosleep(&pause, NULL);
    }
    return 0;
}

void cgroup_reclaim(const struct cgroup_host *host, const char *id, const atomic_bool *stop)
{
    enum { PIECES_MAX = 4096 };
    char path[BOX_ID_MAX + 32];
    size_t i;
    const struct cgroup_hierarchy *h = with(host, CGROUP_MEMORY, &i);
    if (!h)
        return;
    if (!h->v2) { /* all at once is all that v1 knows */
        snprintf(path, sizeof path, "%s/memory.force_empty", id);
        (void)fd_write_file(host->fds[i], path, "0");
        return;
    }
    snprintf(path, sizeof path, "%s/memory.reclaim", id);
    for (int n = 0; n < PIECES_MAX && !*stop; n++)
        if (fd_write_file(host->fds[i], path, "16M") < 0)
            return; /* less was left, or nothing more can go */
}

static uint64_t number(const struct cgroup_host *host, size_t i, const char *id, const char *file)
{
    char text[32];
    uint64_t value;
    if (!read_text(host, i, id, file, text, sizeof text))
        return 0;
    struct str s = str_from(text);
    if (s.len && s.p[s.len - 1] == '\n')
        s.len--;
    return str_to_u64(s, UINT64_MAX, &value) == 0 ? value : 0;
}

static void usage_in(const struct cgroup_host *host, size_t i, const char *id,
                     struct cgroup_usage *usage)
{
    const struct cgroup_hierarchy *h = &host->layout.hierarchies[i];
    char text[8192];
    if (h->controllers & CGROUP_MEMORY) {
        usage->memory_bytes =
            number(host, i, id, h->v2 ? "memory.current" : "memory.usage_in_bytes");
        if (read_text(host, i, id, "memory.stat", text, sizeof text))
            usage->cache_bytes = line_value(text, h->v2 ? "file" : "total_cache");
        if (read_text(host, i, id, h->v2 ? "memory.events" : "memory.oom_control", text,
                      sizeof text))
            usage->oom_kills = (uint32_t)line_value(text, "oom_kill");
    }
    if (h->controllers & CGROUP_PIDS)
        usage->pids = (uint32_t)number(host, i, id, "pids.current");
    if (h->controllers & CGROUP_CPUACCT) {
        if (!h->v2)
            usage->cpu_ns = number(host, i, id, "cpuacct.usage");
        else if (read_text(host, i, id, "cpu.stat", text, sizeof text))
            usage->cpu_ns = line_value(text, "usage_usec") * 1000;
    }
}

int cgroup_read_usage(const struct cgroup_host *host, const char *id, struct cgroup_usage *ret)
{
    if (host->layout.count == 0 || faccessat(host->fds[0], id, F_OK, 0) < 0)
        return -ENOENT;
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < host->layout.count; i++)
        usage_in(host, i, id, ret);
    return 0;
}

size_t cgroup_open_agents(const struct cgroup_host *host, int fds[BOX_CGROUPS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < host->layout.count; i++) {
        const struct cgroup_hierarchy *h = &host->layout.hierarchies[i];
        const char *file = h->v2 ? CGROUP_AGENTS "/cgroup.procs" : CGROUP_AGENTS "/tasks";
        int fd = openat(host->fds[i], file, O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
            fds[count++] = fd;
    }
    return count;
}

enum { KILL_BATCH = 64 };

static size_t read_pids(const struct cgroup_host *host, size_t i, const char *id,
                        pid_t pids[KILL_BATCH])
{
    char text[KILL_BATCH * 12];
    size_t count = 0;
    if (!read_text(host, i, id, "cgroup.procs", text, sizeof text))
        return 0;
    struct str rest = str_from(text), line;
    while (count < KILL_BATCH && str_split(&rest, '\n', &line)) {
        uint64_t pid;
        /* 0 is a process outside of our pid namespace; the last line may be cut. */
        if (str_to_u64(line, INT32_MAX, &pid) == 0 && pid > 0)
            pids[count++] = (pid_t)pid;
    }
    return count;
}

static int kill_in(const struct cgroup_host *host, size_t i, const char *id)
{
    pid_t pids[KILL_BATCH], again[KILL_BATCH];
    int fds[KILL_BATCH];
    size_t count = read_pids(host, i, id, pids);
    for (size_t k = 0; k < count; k++)
        fds[k] = (int)syscall(SYS_pidfd_open, pids[k], 0);
    /* A pid that is still listed after its pidfd was opened is the process we mean. */
    size_t still = read_pids(host, i, id, again);
    for (size_t k = 0; k < count; k++) {
        for (size_t j = 0; j < still && fds[k] >= 0; j++)
            if (again[j] == pids[k])
                syscall(SYS_pidfd_send_signal, fds[k], SIGKILL, NULL, 0);
        fd_closep(&fds[k]);
    }
    return (int)count;
}

static uint64_t pid_namespace(pid_t pid)
{
    char path[32];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

static unsigned kill_strays_in(const struct cgroup_host *host, size_t i,
                               bool (*spare)(void *arg, uint64_t pid_namespace), void *arg)
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    unsigned killed = 0;
    if (fd_read_file(host->fds[i], CGROUP_AGENTS "/cgroup.procs", 16 << 20, &text, &len) < 0)
        return 0;
    struct str rest = {text, len}, line;
    while (str_split(&rest, '\n', &line)) {
        uint64_t pid;
        if (str_to_u64(line, INT32_MAX, &pid) < 0 || pid == 0)
            continue;
        /* What is read under this pid with the pidfd open is about this process, or it is dead. */
        _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
        uint64_t namespace = pidfd < 0 ? 0 : pid_namespace((pid_t)pid);
        if (namespace && !spare(arg, namespace) &&
            syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0)
            killed++;
    }
    return killed;
}

unsigned cgroup_kill_strays(const struct cgroup_host *host,
                            bool (*spare)(void *arg, uint64_t pid_namespace), void *arg)
{
    unsigned killed = 0;
    for (size_t i = 0; i < host->layout.count; i++)
        if (has_limits(&host->layout.hierarchies[i]))
            killed += kill_strays_in(host, i, spare, arg);
    return killed;
}

int cgroup_kill(const struct cgroup_host *host, const char *id)
{
    int found = 0;
    for (size_t i = 0; i < host->layout.count; i++) {
        if (host->layout.hierarchies[i].v2) {
            char path[BOX_ID_MAX + 24];
            snprintf(path, sizeof path, "%s/cgroup.kill", id);
            fd_write_file(host->fds[i], path, "1");
        }
        found += kill_in(host, i, id);
    }
    return found;
}

int cgroup_remove(const struct cgroup_host *host, const char *id)
{
    int rc = 0;
    for (size_t i = 0; i < host->layout.count; i++)
        if (unlinkat(host->fds[i], id, AT_REMOVEDIR) < 0 && errno != ENOENT)
            rc = -errno;
    return rc;
}

static void each_group(const struct cgroup_host *host, bool (*wanted)(const char *name),
                       void (*each)(void *arg, const char *name), void *arg)
{
    for (size_t i = 0; i < host->layout.count; i++) {
        int fd = openat(host->fds[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
            fd_closep(&fd);
            continue;
        }
        for (struct dirent *entry; (entry = readdir(dir));)
            if (entry->d_type == DT_DIR && wanted(entry->d_name))
                each(arg, entry->d_name);
        closedir(dir);
    }
}

void cgroup_each(const struct cgroup_host *host, void (*each)(void *arg, const char *id), void *arg)
{
    each_group(host, box_id_valid, each, arg);
}

static bool is_kit(const char *name)
{
    return strncmp(name, CGROUP_KIT, strlen(CGROUP_KIT)) == 0;
}

static void remove_one(void *arg, const char *name)
{
    const struct cgroup_host *const *host = arg;
    cgroup_remove(*host, name);
}

void cgroup_remove_kits(const struct cgroup_host *host)
{
    each_group(host, is_kit, remove_one, &host);
}
