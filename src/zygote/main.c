/* SPDX-License-Identifier: Apache-2.0 */
/* The zygote: a small static program that the launcher starts once and that sandboxes are cloned
 * from, without an exec. It holds nothing: no secret, a handful of descriptors, a private mount
 * namespace with two mounts. It does what the launcher's messages say and decides nothing.
 *
 * Descriptors at the start: 3 the launcher's socket, 4 the system call filter. */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/handover.h"
#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/inside.h"

enum { SOCKET_FD = 3, FILTER_FD = 4 };

static struct {
    struct box_inside inside;
    char config[BOX_CONFIG_MAX];
} request;

static struct sock_fprog filter;
static bool keep_stderr;

static void die(const char *step)
{
    dprintf(2, "zygote: %s: %s\n", step, strerror(errno));
    _exit(1);
}

static void load_filter(void)
{
    struct stat st;
    if (fstat(FILTER_FD, &st) < 0)
        die("system call filter");
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, FILTER_FD, 0);
    if (p == MAP_FAILED)
        die("system call filter");
    filter.filter = p;
    filter.len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
    close(FILTER_FD);
}

static void make_node(const char *path, unsigned minor_id, unsigned major_id)
{
    if (mknod(path, S_IFCHR | 0666, makedev(major_id, minor_id)) < 0)
        die(path);
}

/* One /dev for all sandboxes, bound read-only into each: building one takes longer than all other
 * mounts together. */
static void make_dev(void)
{
    if (mkdir("dev", 0755) < 0 || mkdir("dev/pts", 0755) < 0 || mkdir("dev/shm", 01777) < 0)
        die("make dev");
    make_node("dev/null", 3, 1);
    make_node("dev/zero", 5, 1);
    make_node("dev/full", 7, 1);
    make_node("dev/random", 8, 1);
    make_node("dev/urandom", 9, 1);
    make_node("dev/tty", 0, 5);
    if (symlink("/proc/self/fd", "dev/fd") < 0 || symlink("fd/0", "dev/stdin") < 0 ||
        symlink("fd/1", "dev/stdout") < 0 || symlink("fd/2", "dev/stderr") < 0 ||
        symlink("pts/ptmx", "dev/ptmx") < 0)
        die("make dev");
}

/* A mount namespace with nothing in it but places to mount on: fewer mounts make every clone and
 * every pivot_root faster, and leave nothing of the host to find. */
static void make_root(void)
{
    umask(0);
    /* Of control groups, sandboxes see this as the root: where the zygote is, and no host above. */
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
        die("unshare");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        die("make mounts private");
    if (mount("carrel", "/tmp", "tmpfs", MS_NOSUID, "size=64k,nr_inodes=80,mode=755") < 0)
        die("mount tmpfs");
    if (chdir("/tmp") < 0)
        die("chdir");
    make_dev();
    if (mkdir("lower", 0755) < 0 || mkdir("lower/template", 0755) < 0 ||
        mkdir("lower/host", 0755) < 0 || mkdir("state", 0755) < 0 || mkdir("root", 0755) < 0)
        die("make directories");
    for (int i = 0; i < BOX_LAYERS_MAX; i++) {
        char path[16];
        snprintf(path, sizeof path, "lower/%d", i);
        if (mkdir(path, 0755) < 0)
            die("make directories");
    }
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        die("pivot_root");
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | BOX_ZYGOTE_FLAGS, NULL) < 0)
        die("read-only root");
    umask(022);
}

static void prepare(void)
{
    prctl(PR_SET_NAME, "carrel-zygote", 0, 0, 0);
    /* Children are reaped by the kernel; the launcher holds their pidfds. */
    signal(SIGCHLD, SIG_IGN);
    load_filter();
    make_root();
    /* Not the launcher's session keyring; an empty one, and no key call is allowed inside. */
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        die("open /dev/null");
    dup2(null, 0);
    dup2(null, 1);
    close(null);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        die("not dumpable");
}

/* In the child. Does not return. */
static void child(int handles[BOX_HANDLES])
{
    close(SOCKET_FD);
    prctl(PR_SET_NAME, "carrel-init", 0, 0, 0);
    if (inside_enter(&request.inside, handles, &filter, keep_stderr) < 0)
        _exit(1);
    const struct agent_start start = {
        .listen_fd = handles[BOX_HANDLE_LISTEN],
        .memory_fd = handles[BOX_HANDLE_MEMORY],
        .cpu_fd = handles[BOX_HANDLE_CPU],
        .oom_fd = handles[BOX_HANDLE_OOM],
        .pids_fd = handles[BOX_HANDLE_PIDS],
        .leave_fd = handles[BOX_HANDLE_LEAVE],
        .join_fds = {handles[BOX_HANDLE_JOIN], handles[BOX_HANDLE_JOIN + 1],
                     handles[BOX_HANDLE_JOIN + 2]},
        .rescue_fds = {handles[BOX_HANDLE_RESCUE], handles[BOX_HANDLE_RESCUE + 1],
                       handles[BOX_HANDLE_RESCUE + 2]},
        .config = request.config,
        .config_len = request.inside.config_len};
    _Static_assert((int)AGENT_CONTROL_FD == (int)BOX_CONTROL_FD &&
                       (int)AGENT_PROGRAM_FD == (int)BOX_PROGRAM_FD,
                   "the host looks where init puts them");
    _Static_assert((int)AGENT_JOINS == (int)BOX_JOINS, "all doors are passed on");
    _exit(init_main(&start));
}

static void serve_one(int handles[BOX_HANDLES])
{
    int pidfd = -1;
    struct clone_args args = {.flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
                                       CLONE_NEWUTS,
                              .pidfd = (uint64_t)(uintptr_t)&pidfd,
                              .exit_signal = SIGCHLD};
    if (handles[BOX_HANDLE_CGROUP] >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)handles[BOX_HANDLE_CGROUP];
    }
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        child(handles);
    struct box_born born = {.serial = request.inside.serial,
                            .pid = pid > 0 ? (int32_t)pid : 0,
                            .os = pid < 0 ? errno : 0};
    /* A launcher that is gone hears nothing; the child finds that out by itself, and we next. */
    fd_send(SOCKET_FD, &born, sizeof born, &pidfd, pid > 0);
    if (pidfd >= 0)
        close(pidfd);
    /* The next sandbox must not inherit what this one was configured with. */
    explicit_bzero(request.config, request.inside.config_len);
}

/* False at the end of the connection. */
static bool serve(void)
{
    int fds[FD_PASS_MAX];
    size_t count = FD_PASS_MAX;
    ssize_t n = fd_receive(SOCKET_FD, &request, sizeof request, fds, &count);
    /* Reset: the launcher died with answers of ours unread. */
    if (n == 0 || n == -ECONNRESET)
        return false;
    if (n < 0) {
        errno = (int)-n;
        die("receive");
    }
    const struct box_inside *in = &request.inside;
    if ((size_t)n < sizeof *in || in->version != BOX_INSIDE_VERSION ||
        (size_t)n != sizeof *in + in->config_len ||
        (size_t)__builtin_popcount(in->handles) != count) {
        errno = EPROTO;
        die("request");
    }
    int handles[BOX_HANDLES];
    size_t next = 0;
    for (int h = 0; h < BOX_HANDLES; h++)
        handles[h] = (in->handles >> h) & 1 ? fds[next++] : -1;
    serve_one(handles);
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    return true;
}

int main(int argc, char **argv)
{
    if (handover_asked(argc, argv))
        return handover_main(argv);
    keep_stderr = argc > 1 && strcmp(argv[1], "keep-stderr") == 0;
    prepare();
    while (serve())
        continue;
    return 0;
}
