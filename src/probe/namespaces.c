/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces: those the probe is in, and making or entering others. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "probe/probe.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static const struct {
    const char *name;
    const char *file; /* in /proc/self/ns */
    unsigned long flag;
} kinds[] = {{"user", "user", CLONE_NEWUSER},       {"mnt", "mnt", CLONE_NEWNS},
             {"pid", "pid", CLONE_NEWPID},          {"net", "net", CLONE_NEWNET},
             {"ipc", "ipc", CLONE_NEWIPC},          {"uts", "uts", CLONE_NEWUTS},
             {"cgroup", "cgroup", CLONE_NEWCGROUP}, {"time", "time", CLONE_NEWTIME}};

struct attempt {
    unsigned long flag;
};

static void unshare_child(void *arg)
{
    const struct attempt *a = arg;
    if (unshare((int)a->flag) < 0)
        _exit(errno);
}

static void try_unshare(const struct probe *self, const struct probe_input *in,
                        struct probe_report *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct attempt a = {kinds[i].flag};
        int status = probe_in_child(unshare_child, &a);
        errno = WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
        probe_tried(out, kinds[i].name, errno ? -1 : 0, NULL);
    }
    /* All at once, as `unshare -Urm` and browsers do. */
    struct attempt all = {CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET};
    int status = probe_in_child(unshare_child, &all);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
    probe_tried(out, "user+mnt+net", errno ? -1 : 0, NULL);
}

static void reap(long pid)
{
    if (pid > 0)
        waitpid((pid_t)pid, NULL, __WALL);
}

static void try_clone(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].flag == CLONE_NEWTIME)
            continue; /* a part of the signal number here */
        long pid = syscall(SYS_clone, kinds[i].flag | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            _exit(0);
        probe_tried(out, kinds[i].name, pid, NULL);
        reap(pid);
    }
    long pid = syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    probe_tried(out, "user+mnt", pid, NULL);
    reap(pid);
}

static void try_clone3(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct clone_args args = {.flags = kinds[i].flag, .exit_signal = SIGCHLD};
        long pid = syscall(SYS_clone3, &args, sizeof args);
        if (pid == 0)
            _exit(0);
        probe_tried(out, kinds[i].name, pid, NULL);
        reap(pid);
    }
}

static void try_setns(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i].file);
        _cleanup_close_ int own = open(path, O_RDONLY | O_CLOEXEC);
        if (own >= 0)
            probe_tried(out, kinds[i].name, setns(own, 0), NULL);
    }
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/1/ns/%s", kinds[i].file);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            probe_note(out, false, "opened %s", path);
    }
}

/* Process 1 is ours, and there is nobody that it has not brought up. */
static void try_pids(const struct probe *self, const struct probe_input *in,
                     struct probe_report *out)
{
    char name[64] = "", line[512] = "";
    unsigned count = 0;
    DIR *dir = opendir("/proc");
    if (!dir) {
        probe_say(out, PROBE_UNKNOWN, "no /proc");
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[strspn(entry->d_name, "0123456789")] == '\0';
    closedir(dir);
    probe_status("1", "Name", name, sizeof name);
    probe_read("/proc/1/cmdline", line, sizeof line);
    probe_note(out, strcmp(name, "carrel-init") == 0, "process 1 is %s", name);
    probe_note(out, count < 64, "%u processes visible", count);
    char own[64] = "";
    probe_status("self", "NSpid", own, sizeof own);
    probe_note(out, !strchr(own, '\t'), "one pid of ours (%s)", own);
}

static void try_host_name(const struct probe *self, const struct probe_input *in,
                          struct probe_report *out)
{
    char name[65] = "";
    gethostname(name, sizeof name - 1);
    if (in->host_name)
        probe_note(out, strcmp(name, in->host_name) != 0, "name %s", name);
    /* The name it has already. */
    probe_tried(out, "sethostname", sethostname(name, strlen(name)), NULL);
    char domain[65] = "";
    if (getdomainname(domain, sizeof domain) == 0)
        probe_tried(out, "setdomainname", setdomainname(domain, strlen(domain)), NULL);
}

static void try_cgroup_view(const struct probe *self, const struct probe_input *in,
                            struct probe_report *out)
{
    char text[4096];
    if (probe_read("/proc/self/cgroup", text, sizeof text) <= 0) {
        probe_say(out, PROBE_HELD, "not readable");
        return;
    }
    struct str rest = str_from(text), line, word;
    while (str_split(&rest, '\n', &line)) {
        if (!line.len)
            continue;
        struct str path = line;
        str_split(&path, ':', &word);
        str_split(&path, ':', &word);
        /* The groups that the sandbox is not in show where the host keeps its own: a hierarchy of
         * no controller, or the root. */
        probe_note(out, str_eqz(path, "/") || str_starts(path, STR("/..")), "%.*s", STR_ARG(line));
    }
}

static const struct probe probes[] = {
    {"pid-namespace", "4", "only its own processes are visible", try_pids, NULL},
    {"host-name", "6", "it has a name of its own and cannot change it", try_host_name, NULL},
    {"cgroup-view", "8", "the control groups above it cannot be seen", try_cgroup_view, NULL},
    {"unshare", "6", "no new namespace by unshare", try_unshare, NULL},
    {"clone", "6", "no new namespace by clone", try_clone, NULL},
    {"clone3", "6", "no new namespace by clone3", try_clone3, NULL},
    {"setns", "6", "no other namespace can be entered", try_setns, NULL},
};

const struct probe_group probe_namespaces = {"namespaces", probes, ARRAY_SIZE(probes), 10};
