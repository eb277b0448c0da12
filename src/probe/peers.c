/* SPDX-License-Identifier: Apache-2.0 */
/* The two processes of ours that live inside, init and agent: their memory, files and lives. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "probe/probe.h"

struct peer {
    const char *name;
    pid_t pid;
};

static void find_peers(struct peer ret[2])
{
    ret[0] = (struct peer){"init", 1};
    ret[1] = (struct peer){"agent", probe_agent_pid()};
}

static void try_files(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    static const char *const names[] = {"mem",     "environ", "maps",    "auxv", "stack",
                                        "syscall", "io",      "pagemap", "exe",  "map_files",
                                        "fdinfo",  "fd",      "root",    "cwd",  "ns"};
    struct peer peers[2];
    unsigned closed = 0;
    find_peers(peers);
    for (size_t p = 0; p < 2; p++) {
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
            char path[64];
            snprintf(path, sizeof path, "/proc/%d/%s", peers[p].pid, names[i]);
            _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
            char first[16];
            /* Permission may be checked when reading only; a directory counts when it lists. */
            bool readable = fd >= 0 && read(fd, first, sizeof first) != 0 && errno != EACCES;
            if (readable && errno == EISDIR) {
                DIR *dir = opendir(path);
                unsigned entries = 0;
                for (struct dirent *e; dir && (e = readdir(dir));)
                    entries += e->d_name[0] != '.';
                if (dir)
                    closedir(dir);
                readable = entries > 0;
            }
            if (readable)
                probe_note(out, false, "%s of %s", names[i], peers[p].name);
            else
                closed++;
        }
    }
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%u files of pids 1 and %d closed", closed, peers[1].pid);
}

/* A program that is replaced while it runs is the way out of runc's CVE-2019-5736. */
static void try_program(const struct probe *self, const struct probe_input *in,
                        struct probe_report *out)
{
    struct peer peers[2];
    find_peers(peers);
    for (size_t p = 0; p < 2; p++) {
        char path[64], target[256];
        snprintf(path, sizeof path, "/proc/%d/exe", peers[p].pid);
        ssize_t n = readlink(path, target, sizeof target - 1);
        probe_note(out, n < 0, "readlink of %s %s", peers[p].name,
                   n < 0 ? probe_errno(errno) : "works");
        _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
        probe_tried(out, "open", fd, NULL);
        if (fd < 0)
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        _cleanup_close_ int again = open(path, O_WRONLY | O_CLOEXEC);
        probe_tried(out, "open for writing", again, (const int[]){ETXTBSY, EROFS, 0});
    }
}

static void try_memory(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    char word[8] = "";
    struct iovec here = {word, sizeof word}, there = {(void *)(uintptr_t)4096, sizeof word};
    struct peer peers[2];
    find_peers(peers);
    for (size_t p = 0; p < 2; p++) {
        char what[64];
        /* Nothing is mapped at 4096: with permission the answer is EFAULT. */
        snprintf(what, sizeof what, "readv %s", peers[p].name);
        probe_tried(out, what, process_vm_readv(peers[p].pid, &here, 1, &there, 1, 0), NULL);
        snprintf(what, sizeof what, "writev %s", peers[p].name);
        probe_tried(out, what, process_vm_writev(peers[p].pid, &here, 1, &there, 1, 0), NULL);
    }
}

static void try_ptrace(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    struct peer peers[2];
    find_peers(peers);
    for (size_t p = 0; p < 2; p++)
        /* Seizing stops nobody, and ends with this process. */
        probe_tried(out, peers[p].name, ptrace(PTRACE_SEIZE, peers[p].pid, 0, 0), NULL);
}

static void try_descriptors(const struct probe *self, const struct probe_input *in,
                            struct probe_report *out)
{
    struct peer peers[2];
    find_peers(peers);
    for (size_t p = 0; p < 2; p++) {
        _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, peers[p].pid, 0);
        if (pidfd < 0) {
            probe_tried(out, peers[p].name, pidfd, NULL);
            continue;
        }
        _cleanup_close_ int got = (int)syscall(SYS_pidfd_getfd, pidfd, 0, 0);
        probe_tried(out, peers[p].name, got, NULL);
    }
}

static void try_killing_init(const struct probe *self, const struct probe_input *in,
                             struct probe_report *out)
{
    /* Process 1 of a namespace takes neither of these from within, wherever we are. If it did,
     * nobody would be left to say so, which the caller notices. No other signal: they may have
     * handlers, and on a host that would be a shutdown. */
    int rc = kill(1, SIGKILL);
    int os = rc < 0 ? errno : 0;
    kill(1, SIGSTOP);
    probe_say(out, kill(1, 0) == 0 || errno == EPERM ? PROBE_HELD : PROBE_OPEN, "%s, it lives on",
              os ? probe_errno(os) : "sent");
}

static const struct probe probes[] = {
    {"init-files", "2", "memory and files of init and agent are closed", try_files, NULL},
    {"init-program", "2", "their program cannot be read or replaced", try_program, NULL},
    {"init-memory", "6", "no reading and writing of their memory", try_memory, NULL},
    {"init-ptrace", "6", "they cannot be traced", try_ptrace, NULL},
    {"init-descriptors", "1", "their descriptors cannot be taken", try_descriptors, NULL},
    {"init-kill", "4", "process 1 cannot be killed from within", try_killing_init, NULL},
};

const struct probe_group probe_peers = {"peers", probes, ARRAY_SIZE(probes), 10};
