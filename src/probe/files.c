/* SPDX-License-Identifier: Apache-2.0 */
/* The root, the mounts, and ways out of them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "probe/probe.h"

enum { STEPS_UP = 64 };

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static void try_up(const struct probe *self, const struct probe_input *in, struct probe_report *out)
{
    static const char *const starts[] = {
        "/", "/proc", "/dev/pts", "/dev/shm", "/proc/self/root", "/proc/self/cwd", "/tmp"};
    struct stat root, here;
    stat("/", &root);
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        int fd = open(starts[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        for (int step = 0; fd >= 0 && step < STEPS_UP; step++) {
            int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
            close(fd);
            fd = up;
        }
        if (fd < 0)
            continue;
        probe_note(out, fstat(fd, &here) == 0 && same(&root, &here), "%s ends at the root",
                   starts[i]);
        close(fd);
    }
}

/* The classic: change the root below an open directory, then walk up past it. As root it must end
 * where it began, since that is where the mount namespace ends. */
static void try_chroot(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    char dir[] = "/tmp/carrel-probe-XXXXXX";
    struct stat root, here;
    stat("/", &root);
    if (!mkdtemp(dir)) {
        probe_say(out, PROBE_UNKNOWN, "no directory in /tmp: %s", probe_errno(errno));
        return;
    }
    _cleanup_close_ int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = chroot(dir);
    int os = errno;
    if (rc == 0 && fchdir(fd) == 0) {
        for (int i = 0; i < STEPS_UP; i++)
            if (chdir("..") < 0)
                break;
        rc = chroot(".");
    }
    /* Leaves this process in whatever root it reached. */
    if (rc < 0)
        probe_say(out, PROBE_HELD, "chroot %s", probe_errno(os));
    else if (stat("/", &here) == 0 && same(&root, &here))
        probe_say(out, PROBE_HELD, "ends at its own root");
    else
        probe_say(out, PROBE_OPEN, "another root was reached");
    unlinkat(fd, dir + 1, AT_REMOVEDIR);
}

static void try_mounts(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    static const char *const known[] = {"overlay", "proc", "tmpfs", "devpts", "mqueue", "sysfs"};
    char text[32768];
    if (probe_read("/proc/self/mountinfo", text, sizeof text) <= 0) {
        probe_say(out, PROBE_UNKNOWN, "no mountinfo");
        return;
    }
    struct str rest = str_from(text), line, field;
    unsigned count = 0;
    while (str_split(&rest, '\n', &line)) {
        if (!line.len)
            continue;
        struct str point = {0}, type = {0};
        count++;
        for (int i = 0; i < 5 && str_split(&line, ' ', &field); i++)
            point = field;
        while (str_split(&line, ' ', &field) && !str_eqz(field, "-"))
            continue;
        str_split(&line, ' ', &type);
        bool good = false;
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            good = good || str_eqz(type, known[i]);
        if (!good)
            probe_note(out, false, "%.*s on %.*s", STR_ARG(type), STR_ARG(point));
    }
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%u mounts, none with files of the host", count);
}

static void look_for(const char *path, const struct probe_words *words, struct probe_report *out)
{
    static char text[256 * 1024];
    ssize_t n = probe_read(path, text, sizeof text);
    for (size_t i = 0; n > 0 && i < words->count; i++)
        if (memmem(text, (size_t)n, words->word[i], strlen(words->word[i])))
            probe_note(out, false, "%s in %s", words->word[i], path);
}

/* Host paths, names and keys that the caller gave us: nowhere to be read. */
static void try_secrets(const struct probe *self, const struct probe_input *in,
                        struct probe_report *out)
{
    static const char *const files[] = {"mountinfo", "mounts", "mountstats", "cgroup", "environ"};
    if (in->secrets.count == 0) {
        probe_say(out, PROBE_SKIPPED, "no words were given");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/%s", files[i]);
        look_for(path, &in->secrets, out);
        snprintf(path, sizeof path, "/proc/%d/%s", probe_agent_pid(), files[i]);
        look_for(path, &in->secrets, out);
    }
    look_for("/proc/1/mountinfo", &in->secrets, out);
    look_for("/proc/1/cmdline", &in->secrets, out);
    look_for("/proc/net/unix", &in->secrets, out);
    look_for("/proc/swaps", &in->secrets, out);
    look_for("/proc/locks", &in->secrets, out);
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "none of %zu words", in->secrets.count);
}

static void try_absent(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    static const char *const prefixes[] = {"",
                                           "/..",
                                           "/proc/self/root",
                                           "/proc/self/root/..",
                                           "/proc/1/root",
                                           "/proc/1/cwd",
                                           "/dev/fd/../.."};
    if (in->absent.count == 0) {
        probe_say(out, PROBE_SKIPPED, "no file was given");
        return;
    }
    for (size_t i = 0; i < in->absent.count; i++) {
        for (size_t p = 0; p < ARRAY_SIZE(prefixes); p++) {
            char path[1024];
            snprintf(path, sizeof path, "%s%s", prefixes[p], in->absent.word[i]);
            _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd >= 0)
                probe_note(out, false, "%s opens", path);
        }
    }
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%zu files out of reach", in->absent.count);
}

/* Descriptors that the probe was born with, as main left them: 0, 1 and 2, and what reads the
 * directory. */
static void try_descriptors(const struct probe *self, const struct probe_input *in,
                            struct probe_report *out)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        probe_say(out, PROBE_UNKNOWN, "no /proc/self/fd");
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        char target[256];
        uint64_t fd;
        if (str_to_u64(str_from(entry->d_name), INT32_MAX, &fd) < 0 || (int)fd == dirfd(dir))
            continue;
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        bool plain = strncmp(target, "pipe:", 5) == 0 || strncmp(target, "socket:", 7) == 0 ||
                     strcmp(target, "/dev/null") == 0 || strncmp(target, "/dev/pts/", 9) == 0;
        probe_note(out, fd <= 2 && plain, "%s %s", entry->d_name, target);
    }
    closedir(dir);
}

static void dump_core(void *arg)
{
    abort();
}

static void try_core(const struct probe *self, const struct probe_input *in,
                     struct probe_report *out)
{
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    /* 1 and not 0: the least at which the kernel does not start a helper either (core(5)). */
    probe_note(out, limit.rlim_max <= 1, "limit %lld", (long long)limit.rlim_max);
    if (limit.rlim_max > 1)
        return; /* a dump would go to the host's helper */
    int status = probe_in_child(dump_core, NULL);
    probe_note(out, !WCOREDUMP(status), "%s", WCOREDUMP(status) ? "dumped" : "no dump");
}

static const struct probe probes[] = {
    {"descriptors", "1", "no descriptor of ours survives into a process", try_descriptors, NULL},
    {"way-up", "3", "the root is the top", try_up, NULL},
    {"chroot-escape", "3", "chroot leads nowhere", try_chroot, NULL},
    {"mounts", "3", "no file system of the host is mounted", try_mounts, NULL},
    {"host-files", "3", "files of the host cannot be opened", try_absent, NULL},
    {"host-words", "3", "no path or secret of the host shows", try_secrets, NULL},
    {"core-dumps", "4", "core dumps do not leave", try_core, NULL},
};

const struct probe_group probe_files = {"files", probes, ARRAY_SIZE(probes), 10};
