/* SPDX-License-Identifier: Apache-2.0 */
/* Attacks by consumption. Each takes at most twice what the caller said is the limit and a little,
 * and gives it back, so that a host whose limit does not bind survives; without a limit given there
 * is no attack. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "probe/probe.h"

enum { MIB = 1 << 20, SPARE_MIB = 64, HOLD_MS = 1000 };

/* Shared by a probe and its children. */
struct tally {
    _Atomic int tried, refused, most;
    _Atomic int64_t units;
    int cap;
    int64_t until;
};

static struct tally *new_tally(void)
{
    void *p =
        mmap(NULL, sizeof(struct tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* ---- processes ---- */

/* Every process makes more, until the time is over or the cap reached. None ends before, so that what
 * was made by then lived at the same time. */
static void breed(struct tally *t)
{
    while (clock_mono_ns() < t->until) {
        if (atomic_fetch_add(&t->tried, 1) >= t->cap) {
            atomic_fetch_sub(&t->tried, 1);
            sched_yield();
            continue;
        }
        pid_t pid = fork();
        if (pid < 0) {
            atomic_fetch_sub(&t->tried, 1);
            if (errno == EAGAIN)
                atomic_fetch_add(&t->refused, 1);
            sched_yield();
        } else if (pid > 0 && clock_mono_ns() < t->until) {
            atomic_fetch_add(&t->most, 1);
        }
    }
}

static void try_processes(const struct probe *self, const struct probe_input *in,
                          struct probe_report *out)
{
    struct tally *t = new_tally();
    if (in->pids == 0 || !t) {
        probe_say(out, PROBE_SKIPPED, "no limit was given");
        return;
    }
    t->cap = (int)in->pids * 2 + SPARE_MIB;
    t->until = clock_mono_ns() + HOLD_MS * CLOCK_MS;
    /* Orphans come to us instead of process 1, so that we know when all are gone. */
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pid_t pid = fork();
    if (pid == 0) {
        breed(t);
        _exit(0);
    }
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
    bool held = t->most < (int)in->pids && t->refused > 0;
    probe_say(out, held ? PROBE_HELD : PROBE_OPEN, "%d at once of %u allowed, %d refused", t->most,
              in->pids, t->refused);
}

/* ---- memory ---- */

struct eater {
    struct tally *tally;
    int64_t most; /* units */
    bool shared;
};

static void prefer_to_die(void)
{
    _cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "1000", 4) < 0)
        return; /* then the killer chooses by size, which is us too */
}

static void eat_memory(void *arg)
{
    const struct eater *e = arg;
    prefer_to_die();
    while (e->tally->units < e->most) {
        void *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
                       MAP_ANONYMOUS | (e->shared ? MAP_SHARED : MAP_PRIVATE), -1, 0);
        if (p == MAP_FAILED)
            _exit(1);
        memset(p, 0x5a, MIB);
        atomic_fetch_add(&e->tally->units, 1);
    }
}

static void try_memory_of(bool shared, const struct probe_input *in, struct probe_report *out)
{
    int64_t limit = (int64_t)(in->memory_bytes / MIB);
    struct eater e = {.tally = new_tally(), .most = limit * 2 + SPARE_MIB, .shared = shared};
    if (limit == 0 || !e.tally) {
        probe_say(out, PROBE_SKIPPED, "no limit was given");
        return;
    }
    int status = probe_in_child(eat_memory, &e);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    bool refused = WIFEXITED(status) && WEXITSTATUS(status) == 1;
    probe_say(out, (killed || refused) && e.tally->units <= limit ? PROBE_HELD : PROBE_OPEN,
              "%s at %lld of %lld MiB",
              killed    ? "killed"
              : refused ? "refused"
                        : "not stopped",
              (long long)e.tally->units, (long long)limit);
}

static void try_memory(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    try_memory_of(false, in, out);
}

static void try_shared_memory(const struct probe *self, const struct probe_input *in,
                              struct probe_report *out)
{
    try_memory_of(true, in, out);
}

/* ---- files ---- */

struct filler {
    struct tally *tally;
    int fd;
    int64_t most; /* MiB */
};

static void fill(void *arg)
{
    const struct filler *f = arg;
    static char block[MIB];
    memset(block, 0x5a, sizeof block);
    prefer_to_die();
    while (f->tally->units < f->most) {
        int rc = fd_write_all(f->fd, block, sizeof block);
        if (rc < 0)
            _exit(-rc);
        atomic_fetch_add(&f->tally->units, 1);
    }
}

/* The file has no name any more, so it is gone when the last of us is. */
static int nameless(const char *dir)
{
    char path[128];
    snprintf(path, sizeof path, "%s/carrel-probe-fill-%d", dir, getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static void fill_in(const char *dir, int64_t limit_mib, struct probe_report *out)
{
    struct filler f = {
        .tally = new_tally(), .fd = nameless(dir), .most = limit_mib + limit_mib / 4 + SPARE_MIB};
    if (f.fd < 0 || !f.tally) {
        probe_say(out, PROBE_UNKNOWN, "no file in %s: %s", dir, probe_errno(errno));
        fd_closep(&f.fd);
        return;
    }
    int status = probe_in_child(fill, &f);
    int os = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    bool full = os == ENOSPC || os == EDQUOT || os == ENOMEM;
    fd_closep(&f.fd);
    probe_say(out, killed || full ? PROBE_HELD : PROBE_OPEN, "%s at %lld MiB, the limit is %lld",
              killed ? "killed"
              : full ? probe_errno(os)
                     : "not stopped",
              (long long)f.tally->units, (long long)limit_mib);
}

static void try_disk(const struct probe *self, const struct probe_input *in,
                     struct probe_report *out)
{
    char here[256];
    if (in->disk_bytes == 0) {
        probe_say(out, PROBE_SKIPPED, "no limit was given");
        return;
    }
    if (!getcwd(here, sizeof here))
        snprintf(here, sizeof here, "/tmp");
    fill_in(here, (int64_t)(in->disk_bytes / MIB), out);
}

static void try_shm(const struct probe *self, const struct probe_input *in,
                    struct probe_report *out)
{
    if (in->memory_bytes == 0)
        probe_say(out, PROBE_SKIPPED, "no limit was given");
    else
        fill_in("/dev/shm", (int64_t)(in->memory_bytes / MIB), out);
}

static void try_descriptors(const struct probe *self, const struct probe_input *in,
                            struct probe_report *out)
{
    enum { SOFT_MOST = 65536, HARD_MOST = 1 << 20 };
    struct rlimit limit, more;
    getrlimit(RLIMIT_NOFILE, &limit);
    more = (struct rlimit){limit.rlim_cur, limit.rlim_max + 1};
    probe_tried(out, "raising the limit", setrlimit(RLIMIT_NOFILE, &more), NULL);
    probe_note(out, limit.rlim_cur <= SOFT_MOST && limit.rlim_max <= HARD_MOST, "limit %llu/%llu",
               (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    if (out->verdict != PROBE_HELD)
        return;
    unsigned count = 0;
    while (count <= SOFT_MOST && open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        count++;
    probe_note(out, count <= SOFT_MOST && errno == EMFILE, "%s after %u", probe_errno(errno),
               count);
    close_range(3, ~0U, 0);
}

/* Held for a moment: meanwhile the caller looks whether others still get theirs. */
static void try_inotify(const struct probe *self, const struct probe_input *in,
                        struct probe_report *out)
{
    enum { INSTANCES_MOST = 8192 };
    int count = 0;
    while (count < INSTANCES_MOST && inotify_init1(IN_CLOEXEC) >= 0)
        count++;
    int os = errno;
    int64_t until = clock_mono_ns() + HOLD_MS * CLOCK_MS;
    while (clock_mono_ns() < until)
        sched_yield();
    close_range(3, ~0U, 0);
    probe_say(out, count < INSTANCES_MOST ? PROBE_HELD : PROBE_OPEN, "%s after %d instances",
              count < INSTANCES_MOST ? probe_errno(os) : "not stopped", count);
}

/* ---- time ---- */

static void try_cpu(const struct probe *self, const struct probe_input *in,
                    struct probe_report *out)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (in->cpu_millis == 0 || in->cpu_millis >= processors * 1000) {
        probe_say(out, PROBE_SKIPPED, "no limit below the %ld processors was given", processors);
        return;
    }
    /* Some periods of 100 ms, so that what a group may save up does not count. */
    int64_t start = clock_mono_ns(), until = start + 2 * HOLD_MS * CLOCK_MS;
    for (long i = 0; i < processors + 1; i++) {
        if (fork() == 0) {
            while (clock_mono_ns() < until)
                continue;
            _exit(0);
        }
    }
    while (wait(NULL) > 0 || errno == EINTR)
        continue;
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    int64_t used = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * CLOCK_S +
                   (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
    int64_t millis = used * 1000 / (clock_mono_ns() - start);
    probe_say(out, millis <= in->cpu_millis + in->cpu_millis / 5 ? PROBE_HELD : PROBE_OPEN,
              "%lld thousandths of a processor used, the limit is %u", (long long)millis,
              in->cpu_millis);
}

static const struct probe probes[] = {
    {"limit-descriptors", "9", "open files run out inside", try_descriptors, NULL},
    {"limit-inotify", "9", "inotify instances run out inside", try_inotify, NULL},
    {"limit-processes", "8", "a fork bomb ends inside", try_processes, NULL},
    {"limit-memory", "8", "a memory bomb ends inside", try_memory, NULL},
    {"limit-shared-memory", "8", "shared memory is counted", try_shared_memory, NULL},
    {"limit-shm", "8", "/dev/shm is counted", try_shm, NULL},
    {"limit-cpu", "8", "processor time is bounded", try_cpu, NULL},
    {"limit-disk", "9", "a full disk ends inside", try_disk, NULL},
};

const struct probe_group probe_limits = {"limits", probes, ARRAY_SIZE(probes), 60};
