/* SPDX-License-Identifier: Apache-2.0 */
/* What must work all the same: walls that nobody can work behind would be taken down. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "probe/probe.h"

static void try_sudo(const struct probe *self, const struct probe_input *in,
                     struct probe_report *out)
{
    char *const sudo[] = {(char[]){"sudo"}, (char[]){"-n"},          (char[]){"test"},
                          (char[]){"-w"},   (char[]){"/etc/shadow"}, NULL};
    if (access("/usr/bin/sudo", X_OK) < 0) {
        probe_say(out, PROBE_SKIPPED, "no sudo in this template");
        return;
    }
    int status = probe_run(sudo);
    probe_say(out, status == 0 ? PROBE_HELD : PROBE_OPEN, "exit status %d", status);
}

/* The same by another program: the set-uid bit itself. */
static void try_setuid(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    char *const su[] = {(char[]){"su"}, (char[]){"--version"}, NULL};
    struct stat st;
    if (stat("/usr/bin/su", &st) < 0) {
        probe_say(out, PROBE_SKIPPED, "no su in this template");
        return;
    }
    int status = probe_run(su);
    probe_note(out, (st.st_mode & S_ISUID) && st.st_uid == 0, "mode %o, owner %u",
               st.st_mode & 07777, st.st_uid);
    probe_note(out, status == 0, "exit status %d", status);
    char value[16] = "?";
    probe_status("self", "NoNewPrivs", value, sizeof value);
    probe_note(out, strcmp(value, "0") == 0, "no_new_privs %s", value);
}

static void traced(void *arg)
{
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
        _exit(errno);
}

static void try_own_ptrace(const struct probe *self, const struct probe_input *in,
                           struct probe_report *out)
{
    int status = probe_in_child(traced, NULL);
    bool works = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    probe_note(out, works, "trace a child: %s",
               works ? "works" : probe_errno(WIFEXITED(status) ? WEXITSTATUS(status) : 0));
    long rc = syscall(SYS_personality, ADDR_NO_RANDOMIZE);
    probe_note(out, rc >= 0, "fixed addresses: %s", rc >= 0 ? "work" : probe_errno(errno));
    syscall(SYS_personality, PER_LINUX);
}

static void try_ping(const struct probe *self, const struct probe_input *in,
                     struct probe_report *out)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* Echo request; the kernel fills in identifier and checksum. */
    const unsigned char request[8] = {8, 0, 0, 0, 0, 0, 0, 1};
    unsigned char reply[64];
    struct timeval limit = {1, 0};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        sendto(fd, request, sizeof request, 0, (struct sockaddr *)&to, sizeof to) < 0 ||
        recv(fd, reply, sizeof reply, 0) < 8)
        probe_say(out, PROBE_OPEN, "%s", probe_errno(errno));
    else
        probe_say(out, PROBE_HELD, "answered");
}

static void try_low_port(const struct probe *self, const struct probe_input *in,
                         struct probe_report *out)
{
    static const uint16_t ports[] = {81, 82, 83, 84};
    int os = 0;
    for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ports[i])};
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0) {
            probe_say(out, PROBE_HELD, "port %u", ports[i]);
            return;
        }
        os = errno;
    }
    probe_say(out, PROBE_OPEN, "%s", probe_errno(os));
}

static void try_memory_files(const struct probe *self, const struct probe_input *in,
                             struct probe_report *out)
{
    _cleanup_close_ int memory = memfd_create("probe", MFD_CLOEXEC);
    probe_note(out, memory >= 0, "memfd %s", memory >= 0 ? "works" : probe_errno(errno));
    char name[64];
    snprintf(name, sizeof name, "/carrel-probe-%d", getpid());
    _cleanup_close_ int shared = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    probe_note(out, shared >= 0, "/dev/shm %s", shared >= 0 ? "works" : probe_errno(errno));
    if (shared >= 0)
        shm_unlink(name);
}

static const struct probe probes[] = {
    {"sudo-works", "use", "sudo works", try_sudo, NULL},
    {"setuid-works", "use", "set-uid programs work", try_setuid, NULL},
    {"ptrace-works", "use", "one's own processes can be debugged", try_own_ptrace, NULL},
    {"ping-works", "use", "ping works", try_ping, NULL},
    {"low-ports-work", "use", "servers may use ports below 1024", try_low_port, NULL},
    {"shared-memory-works", "use", "memory files and /dev/shm work", try_memory_files, NULL},
};

const struct probe_group probe_useful = {"useful", probes, ARRAY_SIZE(probes), 10};
