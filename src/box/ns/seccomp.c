/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles the policy into BPF. libseccomp knows the names and numbers; the program is our own: a
 * search tree over ranges of numbers with the same verdict is a fifth of the size of one rule a
 * call, and each sandbox pays for it in time and memory when it loads the filter. */
#include "box/ns/seccomp.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "box/ns/seccomp_policy.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "the filter's argument offsets and ABI are known for x86-64 and AArch64 only"
#endif

enum {
    SYSCALLS = 1024, /* numbers above do not exist */
    CODE_MAX = 4096, /* the kernel's own limit */
    CLONE_NEW = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                CLONE_NEWPID | CLONE_NEWNET,
    NEWTIME = 0x80, /* unshare only: for clone it is part of the signal number */
};

struct program {
    struct sock_filter code[CODE_MAX];
    size_t count;
};

static size_t emit(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    assert(p->count < CODE_MAX);
    p->code[p->count] = (struct sock_filter){.code = code, .jt = jt, .jf = jf, .k = k};
    return p->count++;
}

static void emit_return(struct program *p, int os)
{
    emit(p, BPF_RET | BPF_K, os ? SECCOMP_RET_ERRNO | (uint32_t)os : SECCOMP_RET_ALLOW, 0, 0);
}

/* Low 32 bits: all arguments looked at are ints, or the kernel itself cuts them to that. */
static void emit_load_arg(struct program *p, unsigned i)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offsetof(struct seccomp_data, args) + i * 8), 0,
         0);
}

/* Returns os if the value loaded is k. */
static void emit_refuse(struct program *p, uint32_t k, int os)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
    emit_return(p, os);
}

static void emit_any_bit(struct program *p, unsigned arg, uint32_t bits, int os)
{
    emit_load_arg(p, arg);
    emit(p, BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
    emit_return(p, os);
    emit_return(p, 0);
}

static void check_clone(struct program *p)
{
    emit_any_bit(p, 0, CLONE_NEW, EPERM);
}

static void check_unshare(struct program *p)
{
    emit_any_bit(p, 0, CLONE_NEW | NEWTIME, EPERM);
}

/* Typing for the user on a terminal that is shared with something outside; line disciplines are
 * kernel modules that only their bugs make interesting here. */
static void check_ioctl(struct program *p)
{
    emit_load_arg(p, 1);
    emit_refuse(p, TIOCSTI, EPERM);
    emit_refuse(p, TIOCLINUX, EPERM);
    emit_refuse(p, TIOCSETD, EPERM);
    emit_return(p, 0);
}

static void check_personality(struct program *p)
{
    static const uint32_t good[] = {PER_LINUX,         PER_LINUX32, UNAME26, UNAME26 | PER_LINUX32,
                                    ADDR_NO_RANDOMIZE, 0xffffffff};
    emit_load_arg(p, 0);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        emit_refuse(p, good[i], 0);
    emit_return(p, EPERM);
}

/* UNIX; INET and INET6 with TCP, UDP and ping; NETLINK for routes. Each refusal is the error of a
 * kernel that was built without the thing, which programs expect. */
static void check_socket(struct program *p)
{
    static const uint32_t inet[] = {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6};
    emit_load_arg(p, 0);
    emit_refuse(p, AF_UNIX, 0);
    size_t to_netlink = emit(p, BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 2, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 1, 0);
    emit_return(p, EAFNOSUPPORT);
    emit_load_arg(p, 1);
    emit(p, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, SOCK_STREAM, 2, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, SOCK_DGRAM, 1, 0);
    emit_return(p, EPERM);
    emit_load_arg(p, 2);
    for (size_t i = 0; i < ARRAY_SIZE(inet); i++)
        emit_refuse(p, inet[i], 0);
    emit_return(p, EPROTONOSUPPORT);
    p->code[to_netlink].jt = (uint8_t)(p->count - to_netlink - 1);
    emit_load_arg(p, 2);
    emit_refuse(p, 0, 0);
    emit_return(p, EPROTONOSUPPORT);
}

static void check_socketpair(struct program *p)
{
    emit_load_arg(p, 0);
    emit_refuse(p, AF_UNIX, 0);
    emit_return(p, EAFNOSUPPORT);
}

/* Upper-layer protocols are modules that a plain setsockopt would load. */
static void check_setsockopt(struct program *p)
{
    enum { TCP_ULP_OPTION = 31 };
    emit_load_arg(p, 1);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 1, 0);
    emit_return(p, 0);
    emit_load_arg(p, 2);
    emit_refuse(p, TCP_ULP_OPTION, ENOPROTOOPT);
    emit_return(p, 0);
}

static const struct {
    const char *name;
    void (*check)(struct program *p);
} checks[] = {{"clone", check_clone},          {"unshare", check_unshare},
              {"ioctl", check_ioctl},          {"personality", check_personality},
              {"socket", check_socket},        {"socketpair", check_socketpair},
              {"setsockopt", check_setsockopt}};

/* Verdict of each number: 0 absent, 1 allowed, 2 refused, 3 + i check i. */
struct table {
    uint8_t verdict[SYSCALLS];
};

static void table_set(struct table *t, const char *name, uint8_t verdict)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr >= 0 && nr < SYSCALLS)
        t->verdict[nr] = verdict;
}

static void table_fill(struct table *t)
{
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < ARRAY_SIZE(seccomp_allowed); i++)
        table_set(t, seccomp_allowed[i], SECCOMP_ALLOWED);
    for (size_t i = 0; i < ARRAY_SIZE(seccomp_refused); i++)
        table_set(t, seccomp_refused[i], SECCOMP_REFUSED);
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        table_set(t, checks[i].name, (uint8_t)(SECCOMP_CHECKED + i));
}

enum seccomp_verdict seccomp_verdict(int nr)
{
    static struct table table;
    static bool ready;
    if (!ready)
        table_fill(&table);
    ready = true;
    if (nr < 0 || nr >= SYSCALLS)
        return SECCOMP_ABSENT;
    uint8_t verdict = table.verdict[nr];
    return verdict > SECCOMP_CHECKED ? SECCOMP_CHECKED : (enum seccomp_verdict)verdict;
}

struct range {
    uint32_t first;
    uint8_t verdict;
};

static void emit_leaf(struct program *p, uint8_t verdict)
{
    if (verdict >= SECCOMP_CHECKED)
        checks[verdict - SECCOMP_CHECKED].check(p);
    else if (verdict == SECCOMP_ALLOWED)
        emit_return(p, 0);
    else
        emit_return(p, verdict == SECCOMP_REFUSED ? EPERM : ENOSYS);
}

static void emit_tree(struct program *p, const struct range *ranges, size_t count)
{
    if (count == 1) {
        emit_leaf(p, ranges[0].verdict);
        return;
    }
    size_t half = count / 2;
    /* Conditional jumps reach 255 instructions only, so a far side is reached by a plain one. */
    emit(p, BPF_JMP | BPF_JGE | BPF_K, ranges[half].first, 0, 1);
    size_t jump = emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
    emit_tree(p, ranges, half);
    size_t distance = p->count - jump - 1;
    if (distance <= 255) {
        /* Without it: each sandbox has the kernel translate the whole filter. */
        memmove(&p->code[jump], &p->code[jump + 1], distance * sizeof *p->code);
        p->count--;
        p->code[jump - 1].jt = (uint8_t)distance;
        p->code[jump - 1].jf = 0;
    } else {
        p->code[jump].k = (uint32_t)distance;
    }
    emit_tree(p, ranges + half, count - half);
}

int seccomp_compile(struct seccomp_filter *ret, struct err *err)
{
    struct table table;
    table_fill(&table);
    if (table.verdict[seccomp_syscall_resolve_name("read")] != SECCOMP_ALLOWED)
        return err_set(err, ERR_INTERNAL, 0, "libseccomp does not know this machine's calls");
    struct range ranges[SYSCALLS + 1];
    size_t count = 0;
    for (uint32_t nr = 0; nr < SYSCALLS; nr++)
        if (nr == 0 || table.verdict[nr] != table.verdict[nr - 1])
            ranges[count++] = (struct range){nr, table.verdict[nr]};
    /* x32 numbers (bit 30) and everything else that is too large */
    if (ranges[count - 1].verdict != SECCOMP_ABSENT)
        ranges[count++] = (struct range){SYSCALLS, SECCOMP_ABSENT};
    struct program *p = xcalloc(1, sizeof *p);
    emit(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0);
    emit_return(p, ENOSYS);
    emit(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    emit_tree(p, ranges, count);
    ret->count = p->count;
    ret->code = xmalloc(p->count * sizeof *p->code);
    memcpy(ret->code, p->code, p->count * sizeof *p->code);
    free(p);
    return 0;
}

void seccomp_allow_all(struct seccomp_filter *filter)
{
    filter->code[0] = (struct sock_filter){.code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW};
    filter->count = 1;
}

void seccomp_done(struct seccomp_filter *filter)
{
    free(filter->code);
    *filter = (struct seccomp_filter){0};
}
