/* SPDX-License-Identifier: Apache-2.0 */
/* Who the probe is: users, capabilities, the filter, priorities. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "probe/probe.h"

enum { FIRST_FREE_UID = 65536 }; /* below are the host's own users */

static void look_at_map(const char *file, struct probe_report *out)
{
    char text[256];
    unsigned inside, outside, count;
    if (probe_read(file, text, sizeof text) <= 0 ||
        sscanf(text, "%u %u %u", &inside, &outside, &count) != 3) {
        probe_say(out, PROBE_UNKNOWN, "%s cannot be read", file);
        return;
    }
    probe_note(out, outside >= FIRST_FREE_UID && count <= FIRST_FREE_UID && inside == 0,
               "%u is %u outside, %u of them", inside, outside, count);
}

static void try_maps(const struct probe *self, const struct probe_input *in,
                     struct probe_report *out)
{
    look_at_map("/proc/self/uid_map", out);
    if (out->verdict == PROBE_HELD)
        look_at_map("/proc/self/gid_map", out);
}

#define CAP(name) (UINT64_C(1) << CAP_##name)

/* What a sandbox's root may have over its own users and files, for sudo, apt and strace. */
static const uint64_t harmless = CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(FOWNER) | CAP(FSETID) |
                                 CAP(KILL) | CAP(SETGID) | CAP(SETUID) | CAP(SETPCAP) |
                                 CAP(NET_BIND_SERVICE) | CAP(SYS_CHROOT) | CAP(SYS_PTRACE) |
                                 CAP(SETFCAP) | CAP(AUDIT_WRITE);

static void look_at_set(const char *key, uint64_t may, struct probe_report *out)
{
    char text[64];
    unsigned long long set;
    if (!probe_status("self", key, text, sizeof text) || sscanf(text, "%llx", &set) != 1) {
        probe_say(out, PROBE_UNKNOWN, "no %s", key);
        return;
    }
    probe_note(out, (set & ~may) == 0, "%s %016llx", key, set);
}

static void try_capabilities(const struct probe *self, const struct probe_input *in,
                             struct probe_report *out)
{
    uint64_t own = geteuid() == 0 ? harmless : 0;
    look_at_set("CapEff", own, out);
    look_at_set("CapPrm", own, out);
    look_at_set("CapInh", 0, out);
    look_at_set("CapAmb", 0, out);
}

static void try_bounding_set(const struct probe *self, const struct probe_input *in,
                             struct probe_report *out)
{
    look_at_set("CapBnd", harmless, out);
}

static void try_filter(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    char mode[16] = "?", init[16] = "?";
    probe_status("self", "Seccomp", mode, sizeof mode);
    probe_status("1", "Seccomp", init, sizeof init);
    probe_note(out, strcmp(mode, "2") == 0, "mode %s", mode);
    probe_note(out, strcmp(init, "2") == 0, "mode %s of process 1", init);
}

static void try_priority(const struct probe *self, const struct probe_input *in,
                         struct probe_report *out)
{
    const struct sched_param param = {.sched_priority = 1};
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } deadline = {.size = 48,
                  .policy = 6, /* SCHED_DEADLINE */
                  .runtime = 1000000,
                  .deadline = 100000000,
                  .period = 100000000};
    _Static_assert(sizeof deadline == 48, "the kernel's first struct sched_attr");
    probe_tried(out, "nice -5", setpriority(PRIO_PROCESS, 0, -5), NULL);
    probe_tried(out, "FIFO", sched_setscheduler(0, SCHED_FIFO, &param), NULL);
    probe_tried(out, "RR", sched_setscheduler(0, SCHED_RR, &param), NULL);
    probe_tried(out, "DEADLINE", syscall(SYS_sched_setattr, 0, &deadline, 0), NULL);
    probe_tried(
        out, "real-time I/O",
        syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 0)),
        NULL);
    const struct rlimit rt = {1, 1};
    probe_tried(out, "RLIMIT_RTPRIO", setrlimit(RLIMIT_RTPRIO, &rt), NULL);
}

static void try_oom_score(const struct probe *self, const struct probe_input *in,
                          struct probe_report *out)
{
    static const struct {
        const char *file, *value;
    } tries[] = {{"/proc/self/oom_score_adj", "-1"},
                 {"/proc/self/oom_score_adj", "-1000"},
                 {"/proc/self/oom_adj", "-17"}};
    char own[32] = "?";
    probe_read("/proc/self/oom_score_adj", own, sizeof own);
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
        _cleanup_close_ int fd = open(tries[i].file, O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
            probe_tried(out, tries[i].value, write(fd, tries[i].value, strlen(tries[i].value)),
                        NULL);
    }
    probe_note(out, true, "own score %.*s", (int)strcspn(own, "\n"), own);
}

static void try_groups(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    /* 65534 is what everything that is not mapped looks like: a way to the host's groups. */
    gid_t groups[64];
    int n = getgroups(64, groups);
    for (int i = 0; i < n; i++)
        if (groups[i] >= 65534)
            probe_note(out, false, "group %u", groups[i]);
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%d groups, all of its own", n);
}

static const struct probe probes[] = {
    {"user-map", "7", "root inside is nobody outside", try_maps, NULL},
    {"groups", "7", "no group of the host came along", try_groups, NULL},
    {"capabilities", "5", "no capability beyond its own files and processes", try_capabilities,
     NULL},
    {"bounding-set", "5", "no program can gain more", try_bounding_set, NULL},
    {"seccomp", "6", "a system call filter is in force", try_filter, NULL},
    {"priority", "8", "no higher priority than others", try_priority, NULL},
    {"oom-score", "8", "nobody is exempt from the out-of-memory killer", try_oom_score, NULL},
};

const struct probe_group probe_ids = {"ids", probes, ARRAY_SIZE(probes), 10};
