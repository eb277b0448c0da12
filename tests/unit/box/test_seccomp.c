/* SPDX-License-Identifier: Apache-2.0 */
/* The filter is run through a small interpreter of its instructions for every call number, and
 * loaded for real in a child for those whose arguments matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "box/ns/seccomp.h"

#if defined(__x86_64__)
#define ARCH       AUDIT_ARCH_X86_64
#define OTHER_ARCH AUDIT_ARCH_I386
#else
#define ARCH       AUDIT_ARCH_AARCH64
#define OTHER_ARCH AUDIT_ARCH_ARM
#endif

static struct seccomp_filter filter;

static uint32_t interpret(const struct seccomp_data *data)
{
    uint32_t a = 0;
    for (size_t pc = 0; pc < filter.count; pc++) {
        const struct sock_filter *i = &filter.code[pc];
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(i->k % 4 == 0 && i->k < sizeof *data);
            memcpy(&a, (const char *)data + i->k, 4);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            break;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            pc += a == i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += a >= i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            pc += a & i->k ? i->jt : i->jf;
            break;
        case BPF_RET | BPF_K:
            return i->k;
        default:
            fail_msg("instruction %#x", i->code);
        }
    }
    fail_msg("ran off the end");
    return 0;
}

static int verdict(uint32_t arch, int nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
    const struct seccomp_data data = {.nr = nr, .arch = arch, .args = {a0, a1, a2}};
    uint32_t result = interpret(&data);
    if (result == SECCOMP_RET_ALLOW)
        return 0;
    assert_int_equal(result & SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ERRNO);
    return (int)(result & SECCOMP_RET_DATA);
}

static void test_every_number(void **state)
{
    (void)state;
    unsigned allowed = 0;
    for (int nr = 0; nr < 2000; nr++) {
        switch (seccomp_verdict(nr)) {
        case SECCOMP_ABSENT:
            assert_int_equal(verdict(ARCH, nr, 0, 0, 0), ENOSYS);
            break;
        case SECCOMP_REFUSED:
            assert_int_equal(verdict(ARCH, nr, 0, 0, 0), EPERM);
            break;
        case SECCOMP_ALLOWED:
            assert_int_equal(verdict(ARCH, nr, 0, 0, 0), 0);
            allowed++;
            break;
        case SECCOMP_CHECKED:
            break;
        }
        assert_int_equal(verdict(OTHER_ARCH, nr, 0, 0, 0), ENOSYS);
        assert_int_equal(verdict(ARCH, nr | 0x40000000, 0, 0, 0), ENOSYS);
    }
    assert_in_range(allowed, 250, 400);
    assert_int_equal(verdict(ARCH, -1, 0, 0, 0), ENOSYS);
    assert_true(filter.count < 700);
}

static void test_never_allowed(void **state)
{
    (void)state;
    static const char *const names[] = {"mount",
                                        "umount2",
                                        "move_mount",
                                        "fsopen",
                                        "open_tree",
                                        "mount_setattr",
                                        "pivot_root",
                                        "setns",
                                        "bpf",
                                        "perf_event_open",
                                        "userfaultfd",
                                        "io_uring_setup",
                                        "keyctl",
                                        "add_key",
                                        "request_key",
                                        "kexec_load",
                                        "init_module",
                                        "finit_module",
                                        "open_by_handle_at",
                                        "reboot",
                                        "swapon",
                                        "syslog",
                                        "clone3",
                                        "modify_ldt",
                                        "memfd_secret",
                                        "quotactl",
                                        "fanotify_init",
                                        "iopl",
                                        "ioperm",
                                        "settimeofday",
                                        "acct",
                                        "uselib",
                                        "vm86",
                                        "nfsservctl",
                                        "kcmp"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);
        if (nr >= 0 && verdict(ARCH, nr, 0, 0, 0) == 0)
            fail_msg("%s is allowed", names[i]);
    }
    assert_int_equal(verdict(ARCH, seccomp_syscall_resolve_name("clone3"), 0, 0, 0), ENOSYS);
}

static void test_sockets(void **state)
{
    (void)state;
    static const struct {
        int domain, type, protocol, os;
    } cases[] = {
        {AF_UNIX, SOCK_STREAM, 0, 0},
        {AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0},
        {AF_UNIX, SOCK_SEQPACKET, 0, 0},
        {AF_INET, SOCK_STREAM, 0, 0},
        {AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 6, 0},
        {AF_INET6, SOCK_DGRAM, 17, 0},
        {AF_INET, SOCK_DGRAM, 1, 0},
        {AF_INET6, SOCK_DGRAM, 58, 0},
        {AF_INET, SOCK_RAW, 1, EPERM},
        {AF_INET, SOCK_RAW | SOCK_CLOEXEC, 255, EPERM},
        {AF_INET, SOCK_SEQPACKET, 132, EPERM},
        {AF_INET, 10, 0, EPERM},
        {AF_INET, SOCK_STREAM, 262, EPROTONOSUPPORT},
        {AF_INET, SOCK_STREAM, 132, EPROTONOSUPPORT},
        {AF_INET, SOCK_DGRAM, 136, EPROTONOSUPPORT},
        {AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0, 0},
        {AF_NETLINK, SOCK_RAW, 6, EPROTONOSUPPORT},
        {AF_NETLINK, SOCK_RAW, 9, EPROTONOSUPPORT},
        {AF_NETLINK, SOCK_RAW, 12, EPROTONOSUPPORT},
        {AF_NETLINK, SOCK_RAW, 16, EPROTONOSUPPORT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(verdict(ARCH, SYS_socket, (unsigned)cases[i].domain,
                                 (unsigned)cases[i].type, (unsigned)cases[i].protocol),
                         cases[i].os);
    for (unsigned domain = 0; domain < 64; domain++) {
        bool good =
            domain == AF_UNIX || domain == AF_INET || domain == AF_INET6 || domain == AF_NETLINK;
        assert_int_equal(verdict(ARCH, SYS_socket, domain, SOCK_DGRAM, 0), good ? 0 : EAFNOSUPPORT);
        assert_int_equal(verdict(ARCH, SYS_socketpair, domain, SOCK_DGRAM, 0),
                         domain == AF_UNIX ? 0 : EAFNOSUPPORT);
    }
    /* The kernel looks at 32 bits only; what stands above must not help. */
    assert_int_equal(verdict(ARCH, SYS_socket, (UINT64_C(1) << 32) | AF_VSOCK, SOCK_STREAM, 0),
                     EAFNOSUPPORT);
}

static void test_arguments(void **state)
{
    (void)state;
    static const uint64_t flags[] = {CLONE_NEWNS,  CLONE_NEWUSER, CLONE_NEWPID,   CLONE_NEWNET,
                                     CLONE_NEWIPC, CLONE_NEWUTS,  CLONE_NEWCGROUP};
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        assert_int_equal(verdict(ARCH, SYS_clone, flags[i] | SIGCHLD, 0, 0), EPERM);
        assert_int_equal(verdict(ARCH, SYS_unshare, flags[i], 0, 0), EPERM);
    }
    assert_int_equal(verdict(ARCH, SYS_unshare, 0x80, 0, 0), EPERM);
    assert_int_equal(verdict(ARCH, SYS_unshare, CLONE_FILES | CLONE_FS, 0, 0), 0);
    assert_int_equal(verdict(ARCH, SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND, 0, 0), 0);
    static const uint64_t ioctls[] = {TIOCSTI, TIOCLINUX, TIOCSETD};
    for (size_t i = 0; i < ARRAY_SIZE(ioctls); i++) {
        assert_int_equal(verdict(ARCH, SYS_ioctl, 0, ioctls[i], 0), EPERM);
        assert_int_equal(verdict(ARCH, SYS_ioctl, 0, ioctls[i] | (UINT64_C(7) << 32), 0), EPERM);
    }
    assert_int_equal(verdict(ARCH, SYS_ioctl, 0, TCGETS, 0), 0);
    assert_int_equal(verdict(ARCH, SYS_personality, 0xffffffff, 0, 0), 0);
    assert_int_equal(verdict(ARCH, SYS_personality, ADDR_NO_RANDOMIZE, 0, 0), 0);
    assert_int_equal(verdict(ARCH, SYS_personality, READ_IMPLIES_EXEC, 0, 0), EPERM);
    assert_int_equal(verdict(ARCH, SYS_setsockopt, 3, 6, 31), ENOPROTOOPT);
    assert_int_equal(verdict(ARCH, SYS_setsockopt, 3, 6, 1), 0);
    assert_int_equal(verdict(ARCH, SYS_setsockopt, 3, 1, 31), 0);
}

static void test_loads(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        const struct sock_fprog program = {(unsigned short)filter.count, filter.code};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
            _exit(1);
        if (socket(40, SOCK_STREAM, 0) != -1 || errno != EAFNOSUPPORT)
            _exit(2);
        if (socket(AF_INET, SOCK_STREAM, 0) < 0)
            _exit(3);
        if (unshare(CLONE_NEWUSER) != -1 || errno != EPERM)
            _exit(4);
        if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
            _exit(5);
#if defined(__x86_64__)
        long x32 = syscall(0x40000000 + SYS_getpid);
        if (x32 != -1 || errno != ENOSYS)
            _exit(6);
        int result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
        if (result != -ENOSYS)
            _exit(7);
#endif
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        int status;
        _exit(child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : 8);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

int main(void)
{
    struct err err;
    if (seccomp_compile(&filter, &err) < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number), cmocka_unit_test(test_never_allowed),
        cmocka_unit_test(test_sockets),      cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_loads),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    seccomp_done(&filter);
    return failed;
}
