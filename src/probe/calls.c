/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that nothing in a sandbox needs and that have opened machines before, one at a time.
 *
 * Most are data: number and arguments. The arguments are always such that the kernel, if it lets the
 * caller in, has nothing to do: see probe.h. What is special about one is said beside it. */
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fanotify.h>
#include <linux/keyctl.h>
#include <linux/quota.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "probe/probe.h"

#ifndef __NR_open_tree_attr
#define __NR_open_tree_attr 467
#endif
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif

#define ABSENT "/carrel-probe-absent/file"

struct call {
    const char *name;
    long number;
    long argument[6];
};

enum { CALLS_MAX = 12 };
struct calls {
    struct call call[CALLS_MAX]; /* up to the first without a name */
    const int *also;             /* further errors that mean closed */
};

static void run_calls(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    const struct calls *calls = self->data;
    for (size_t i = 0; i < CALLS_MAX && calls->call[i].name; i++) {
        const struct call *c = &calls->call[i];
        const long *a = c->argument;
        long rc = syscall(c->number, a[0], a[1], a[2], a[3], a[4], a[5]);
        probe_tried(out, c->name, rc, calls->also);
    }
}

#define TEXT(literal) ((long)(uintptr_t)(literal))
#define ONE(name, number, ...)             \
    &(const struct calls)                  \
    {                                      \
        .call = {                          \
            {name, number, {__VA_ARGS__}}, \
        },                                 \
    }

static const long zeros[32];
static char buffer[64];

/* A file system type that no kernel has: ENODEV when mounting is allowed at all. */
static const struct calls mount_calls = {
    .call = {{"mount", __NR_mount, {TEXT("none"), TEXT("/"), TEXT("carrel-none"), 0, 0}},
             {"remount", __NR_mount, {TEXT("none"), TEXT("/proc/self"), 0, MS_REMOUNT, 0}},
             {"bind", __NR_mount, {TEXT(ABSENT), TEXT("/proc/self"), 0, MS_BIND, 0}}},
    .also = (const int[]){0}};

/* /proc/self is never a mount point. */
static const struct calls umount_calls = {
    .call = {{"umount2", __NR_umount2, {TEXT("/proc/self"), 0}},
             {"detach", __NR_umount2, {TEXT("/proc/self"), MNT_DETACH}}}};

static const struct calls mount_api_calls = {
    .call = {{"fsopen", __NR_fsopen, {TEXT("carrel-none"), 0}},
             {"fsconfig", __NR_fsconfig, {-1, 0, 0, 0, 0}},
             {"fsmount", __NR_fsmount, {-1, 0, 0}},
             {"fspick", __NR_fspick, {AT_FDCWD, TEXT("/proc/self"), 0}},
             {"open_tree", __NR_open_tree, {AT_FDCWD, TEXT("/"), 1 /* OPEN_TREE_CLONE */}},
             {"open_tree_attr", __NR_open_tree_attr, {AT_FDCWD, TEXT("/"), 1, 0, 0}},
             {"move_mount", __NR_move_mount, {-1, TEXT(""), -1, TEXT(""), 0x44}},
             {"mount_setattr", __NR_mount_setattr, {AT_FDCWD, TEXT("/"), 0, TEXT(zeros), 32}}}};

static const struct calls io_uring_calls = {
    .call = {{"io_uring_setup", __NR_io_uring_setup, {0, 0}},
             {"io_uring_enter", __NR_io_uring_enter, {-1, 0, 0, 0, 0, 0}},
             {"io_uring_register", __NR_io_uring_register, {-1, 0, 0, 0}}}};

static const struct calls key_calls = {
    .call = {{"add_key", __NR_add_key, {0, 0, 0, 0, 0}},
             {"request_key", __NR_request_key, {0, 0, 0, 0}},
             {"keyctl", __NR_keyctl, {KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0}}}};

/* Flags that do not exist: a call without segments and with good ones would unload what is there. */
static const struct calls kexec_calls = {
    .call = {{"kexec_load", __NR_kexec_load, {0, 0, 0, 0xffffff}},
             {"kexec_file_load", __NR_kexec_file_load, {-1, -1, 0, 0, 0xffffff}}}};

static const struct calls module_calls = {.call = {{"init_module", __NR_init_module, {0, 0, 0}},
                                                   {"finit_module", __NR_finit_module, {-1, 0, 0}},
                                                   {"delete_module", __NR_delete_module, {0, 0}}}};

static const struct calls swap_calls = {.call = {{"swapon", __NR_swapon, {TEXT(ABSENT), 0}},
                                                 {"swapoff", __NR_swapoff, {TEXT(ABSENT)}}}};

static const struct calls syslog_calls = {
    .call = {{"read", __NR_syslog, {3, TEXT(buffer), sizeof buffer}},
             {"size", __NR_syslog, {10, 0, 0}}}};

static const struct calls quota_calls = {
    .call = {{"quotactl", __NR_quotactl, {QCMD(Q_GETFMT, USRQUOTA), 0, 0, 0}},
             {"quotactl_fd", __NR_quotactl_fd, {-1, QCMD(Q_GETFMT, USRQUOTA), 0, 0}}}};

static const struct calls port_calls = {.call = {
#ifdef __NR_iopl
                                            {"iopl", __NR_iopl, {3}},
                                            {"ioperm", __NR_ioperm, {0x80, 1, 1}},
#endif
                                        }};

static const struct calls memory_policy_calls = {
    .call = {{"move_pages", __NR_move_pages, {0, 0, 0, 0, 0, 0}},
             {"migrate_pages", __NR_migrate_pages, {0, 0, 0, 0}}}};

/* Directory handles name inodes of the whole file system, whatever is mounted. */
static void try_handles(const struct probe *self, const struct probe_input *in,
                        struct probe_report *out)
{
    struct {
        struct file_handle head;
        unsigned char bytes[MAX_HANDLE_SZ];
    } handle = {.head = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id;
    if (name_to_handle_at(AT_FDCWD, "/", &handle.head, &mount_id, 0) < 0) {
        /* overlay without an index has no handles: ext4's root inode, 2, generation unknown */
        const uint32_t root[2] = {2, 0};
        handle.head.handle_bytes = sizeof root;
        handle.head.handle_type = 1; /* FILEID_INO32_GEN */
        memcpy(handle.bytes, root, sizeof root);
    }
    int fd = open_by_handle_at(AT_FDCWD, &handle.head, O_RDONLY);
    probe_tried(out, "open_by_handle_at", fd, NULL);
}

static void try_clock(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    /* Both NULL: asks for permission, then does nothing. */
    probe_tried(out, "settimeofday", syscall(SYS_settimeofday, NULL, NULL), NULL);
    /* A pointer that cannot be read; checked before the permission, so only a filter closes it. */
    probe_tried(out, "clock_settime", syscall(SYS_clock_settime, CLOCK_REALTIME, 1L), NULL);
    /* Reading the clock's state is fine, and needed. Permission is checked first, then a tick of 1 is
     * refused as out of range. */
    struct timex t = {.modes = ADJ_TICK, .tick = 1};
    probe_tried(out, "adjtimex", syscall(SYS_adjtimex, &t), NULL);
    t = (struct timex){.modes = ADJ_TICK, .tick = 1};
    probe_tried(out, "clock_adjtime", syscall(SYS_clock_adjtime, CLOCK_REALTIME, &t), NULL);
}

static void try_personality(const struct probe *self, const struct probe_input *in,
                            struct probe_report *out)
{
    static const struct {
        const char *name;
        unsigned long value;
    } bad[] = {{"READ_IMPLIES_EXEC", READ_IMPLIES_EXEC},
               {"READ_IMPLIES_EXEC|ADDR_NO_RANDOMIZE", READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE},
               {"MMAP_PAGE_ZERO", MMAP_PAGE_ZERO},
               {"PER_SVR4", PER_SVR4}};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        probe_tried(out, bad[i].name, syscall(SYS_personality, bad[i].value), NULL);
        syscall(SYS_personality, PER_LINUX);
    }
}

static void try_fanotify(const struct probe *self, const struct probe_input *in,
                         struct probe_report *out)
{
    probe_tried(out, "content", syscall(SYS_fanotify_init, FAN_CLASS_CONTENT, O_RDONLY), NULL);
    /* Since Linux 5.13 for everybody, with file handles instead of descriptors. */
    probe_tried(out, "handles", syscall(SYS_fanotify_init, FAN_REPORT_FID, O_RDONLY), NULL);
}

#if defined(__x86_64__)
static long int80(long number)
{
    long rc;
    __asm__ volatile("int $0x80" : "=a"(rc) : "0"(number) : "memory", "r8", "r9", "r10", "r11");
    return rc;
}

static void try_i386(const struct probe *self, const struct probe_input *in,
                     struct probe_report *out)
{
    enum { I386_GETPID = 20 };
    /* The kernel may answer with a signal, which is a refusal too (main.c reports it so). */
    long rc = int80(I386_GETPID);
    errno = rc < 0 ? (int)-rc : 0;
    probe_tried(out, "getpid by int 0x80", rc < 0 ? -1 : rc, NULL);
}

static void try_x32(const struct probe *self, const struct probe_input *in,
                    struct probe_report *out)
{
    enum { X32_BIT = 0x40000000 };
    probe_tried(out, "getpid with the x32 bit", syscall(X32_BIT | SYS_getpid), NULL);
}
#endif

static const struct probe probes[] = {
#if defined(__x86_64__)
    {"abi-i386", "6", "the 32-bit system call table is closed", try_i386, NULL},
    {"abi-x32", "6", "the x32 system call table is closed", try_x32, NULL},
#endif
    {"mount", "6", "nothing can be mounted", run_calls, &mount_calls},
    {"umount", "6", "nothing can be unmounted", run_calls, &umount_calls},
    {"mount-api", "6", "the newer mount calls are closed", run_calls, &mount_api_calls},
    {"pivot-root", "3", "the root cannot be exchanged", run_calls,
     ONE("pivot_root", __NR_pivot_root, TEXT(ABSENT), TEXT(ABSENT))},
    {"file-handles", "3", "no file can be opened by its inode", try_handles, NULL},
    {"bpf", "6", "no BPF", run_calls, ONE("bpf", __NR_bpf, 0, TEXT(zeros), sizeof zeros)},
    {"perf-events", "6", "no performance events", run_calls,
     ONE("perf_event_open", __NR_perf_event_open, 0, 0, -1, -1, 0)},
    {"userfaultfd", "6", "no userfaultfd", run_calls, ONE("userfaultfd", __NR_userfaultfd, 0)},
    {"io-uring", "6", "no io_uring", run_calls, &io_uring_calls},
    {"keyrings", "6", "no kernel keyrings", run_calls, &key_calls},
    {"kexec", "6", "no other kernel can be loaded", run_calls, &kexec_calls},
    {"modules", "6", "no kernel modules", run_calls, &module_calls},
    /* Without the magic numbers: EINVAL when the caller may reboot. */
    {"reboot", "6", "no reboot", run_calls, ONE("reboot", __NR_reboot, 0, 0, 0, 0)},
    {"swap", "6", "no swap files", run_calls, &swap_calls},
    {"clock", "6", "the host's clock cannot be set", try_clock, NULL},
    {"kernel-log", "6", "the kernel's log cannot be read", run_calls, &syslog_calls},
    /* A path, since NULL would switch accounting off. */
    {"accounting", "6", "no process accounting", run_calls, ONE("acct", __NR_acct, TEXT(ABSENT))},
    {"quota", "6", "quotas are out of reach", run_calls, &quota_calls},
    {"fanotify", "6", "no fanotify", try_fanotify, NULL},
    {"io-ports", "6", "no hardware ports", run_calls, &port_calls},
    {"memory-policy", "6", "no placement of memory", run_calls, &memory_policy_calls},
    {"kcmp", "6", "no comparing of kernel objects", run_calls,
     ONE("kcmp", __NR_kcmp, 1, 1, 0, 0, 0)},
    {"personality", "6", "no personality that weakens memory protection", try_personality, NULL},
};

const struct probe_group probe_calls = {"calls", probes, ARRAY_SIZE(probes), 10};
