/* SPDX-License-Identifier: Apache-2.0 */
/* Starts one process as a user. */
#include "agent/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/oom.h"
#include "agent/terminal.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"

enum {
    STACK_SIZE = 64 << 10,
    STACKS = 4,
    FULL_PART = 8, /* a group is full when less than this part of it is free */
    PATHS_MAX_BYTES = 1 << 20,
    EXIT_NOT_FOUND = 127,
    EXIT_NOT_EXECUTABLE = 126,
};

static struct {
    bool done;
    struct rlimit descriptors; /* as we found it, for the children */
    int joins[AGENT_JOINS];    /* their control group's doors, -1 for none */
    int rescues[AGENT_JOINS];
    int pids_fd;
    uint32_t pids_max;
    pthread_mutex_t lock; /* of leaving */
    int leave;            /* we are in that group ourselves, and leave it by this; -1: not */
    char *stacks[STACKS]; /* of children until their exec, unused ones */
} setup = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .joins = {-1, -1, -1},
           .rescues = {-1, -1, -1},
           .pids_fd = -1,
           .leave = -1};

/* ---- once ---- */

/* The C library keeps two signals to itself and lets sigaction touch neither, but a parent that
 * ignored them hands that down all the same, and pthread_cancel would fail in every process. */
static void reset_reserved(int signal_number)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } action;
    size_t mask_size = sizeof action.mask;
    if (syscall(SYS_rt_sigaction, signal_number, NULL, &action, mask_size) < 0 ||
        action.handler != SIG_IGN)
        return;
    memset(&action, 0, sizeof action);
    syscall(SYS_rt_sigaction, signal_number, &action, NULL, mask_size);
}

static void reset_dispositions(void)
{
    struct sigaction action, standard = {.sa_handler = SIG_DFL};
    for (int signal_number = 1; signal_number < NSIG; signal_number++)
        if (sigaction(signal_number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            sigaction(signal_number, &standard, NULL);
    for (int signal_number = 32; signal_number < SIGRTMIN; signal_number++)
        reset_reserved(signal_number);
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignored, NULL);
}

void spawn_setup(void)
{
    if (setup.done)
        return;
    setup.done = true;
    reset_dispositions();
    if (getrlimit(RLIMIT_NOFILE, &setup.descriptors) < 0)
        setup.descriptors = (struct rlimit){1024, 1024};
    struct rlimit all = {setup.descriptors.rlim_max, setup.descriptors.rlim_max};
    setrlimit(RLIMIT_NOFILE, &all);
}

void spawn_set_group(const struct agent_start *start)
{
    memcpy(setup.joins, start->join_fds, sizeof setup.joins);
    memcpy(setup.rescues, start->rescue_fds, sizeof setup.rescues);
    setup.pids_fd = start->pids_fd;
    setup.leave = start->in_group ? start->leave_fd : -1;
}

void spawn_set_limit(uint32_t pids)
{
    setup.pids_max = pids;
}

/* ---- in the child ---- */

enum stage { STAGE_NONE, STAGE_GROUP, STAGE_TERMINAL, STAGE_USER, STAGE_DIRECTORY, STAGE_EXEC };

/* Shared with the child, which runs in our memory while we wait. */
struct child {
    const struct spawn_request *request;
    const char *paths; /* what to try, one after another, each NUL-terminated; "" ends */
    char **script;     /* argv with two free places in front: for a file without #! */
    int stdio[3];
    int joins[AGENT_JOINS]; /* what to write to, -1 for nothing */
    bool switch_user;
    enum stage stage; /* where it failed */
    int error;
};

static _Noreturn void child_exit(int status)
{
    for (;;)
        syscall(SYS_exit_group, status);
}

static _Noreturn void child_fail(struct child *c, enum stage stage)
{
    c->error = errno;
    c->stage = stage;
    child_exit(EXIT_NOT_FOUND);
}

/* Raw calls: glibc's wrappers would signal our other threads to do the same. */
static bool child_become_user(const struct passwd_user *user)
{
    return syscall(SYS_setgroups, user->group_count, user->groups) == 0 &&
           syscall(SYS_setresgid, user->gid, user->gid, user->gid) == 0 &&
           syscall(SYS_setresuid, user->uid, user->uid, user->uid) == 0;
}

/* As execvp and as sh: go on over what is not there, remember what may not be executed, run what has
 * no known format as a shell script. */
static _Noreturn void child_exec(struct child *c)
{
    char *const *argv = c->request->argv, *const *envp = c->request->envp;
    int denied = 0;
    errno = ENOENT;
    for (const char *path = c->paths; *path; path += strlen(path) + 1) {
        syscall(SYS_execve, path, argv, envp);
        if (errno == ENOEXEC) {
            c->script[0] = (char *)"/bin/sh";
            c->script[1] = (char *)path;
            syscall(SYS_execve, "/bin/sh", c->script, envp);
            break;
        }
        if (errno == EACCES)
            denied = EACCES;
        else if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG)
            break;
    }
    c->error = errno == ENOENT && denied ? denied : errno;
    c->stage = STAGE_EXEC;
    child_exit(c->error == ENOENT || c->error == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

static int child_main(void *arg)
{
    struct child *c = arg;
    const struct spawn_request *r = c->request;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (size_t i = 0; i < AGENT_JOINS; i++)
        if (c->joins[i] >= 0 && syscall(SYS_write, c->joins[i], "0", 1) != 1)
            child_fail(c, STAGE_GROUP);
    syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &setup.descriptors, NULL);
    /* Its own process group, so that `kill 0` in a command means this command and not every one. */
    if (r->pty)
        syscall(SYS_setsid);
    else
        syscall(SYS_setpgid, 0, 0);
    for (int i = 0; i < 3; i++)
        syscall(SYS_dup3, c->stdio[i], i, 0);
    if (r->pty && syscall(SYS_ioctl, 0, TIOCSCTTY, 0) < 0)
        child_fail(c, STAGE_TERMINAL);
    /* At once, not at the exec: it may take its time, and what we close meanwhile is to be closed. */
    syscall(SYS_close_range, 3, ~0U, 0);
    syscall(SYS_umask, 022);
    if (c->switch_user && !child_become_user(r->user))
        child_fail(c, STAGE_USER);
    if (syscall(SYS_chdir, r->cwd) < 0)
        child_fail(c, STAGE_DIRECTORY);
    sigaction(SIGPIPE, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    child_exec(c);
}

/* ---- in the agent ---- */

/* The files to try for a command, in one buffer: the command itself when it has a slash, else one in
 * each directory of PATH. */
static int list_paths(const struct spawn_request *r, struct buf *out)
{
    const char *command = r->argv[0];
    struct str path = STR("/usr/local/bin:/usr/bin:/bin"), dir;
    buf_init(out, PATHS_MAX_BYTES);
    if (strchr(command, '/') || !*command) {
        buf_append(out, command, strlen(command) + 1);
        return *command ? buf_append(out, "", 1) : 0;
    }
    for (char *const *e = r->envp; *e; e++)
        if (strncmp(*e, "PATH=", 5) == 0)
            path = str_from(*e + 5);
    while (str_split(&path, ':', &dir)) {
        int rc = buf_printf(out, "%.*s/%s", STR_ARG(dir.len ? dir : STR(".")), command);
        if (rc < 0 || (rc = buf_append(out, "", 1)) < 0)
            return rc;
    }
    return buf_append(out, "", 1);
}

/* Makes sure that none of our ends is 0, 1 or 2, which the child overwrites one by one. */
static int move_up(int *fd)
{
    if (*fd < 0 || *fd > STDERR_FILENO)
        return 0;
    int higher = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (higher < 0)
        return -errno;
    close(*fd);
    *fd = higher;
    return 0;
}

/* A pipe of which the agent's end does not block. */
static int open_pipe(int *ret_read, int *ret_write, bool agent_reads)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ret_read = ends[0];
    *ret_write = ends[1];
    if (fcntl(agent_reads ? ends[0] : ends[1], F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

/* Both sides' descriptors; theirs are closed here when the child has them. */
struct ends {
    struct spawned ours;
    int theirs[3];
};

static void ends_done(struct ends *e)
{
    fd_closep(&e->ours.in);
    fd_closep(&e->ours.out);
    fd_closep(&e->ours.err);
    fd_closep(&e->ours.pidfd);
    for (int i = 0; i < 3; i++)
        fd_closep(&e->theirs[i]);
}

static int open_ends(const struct spawn_request *r, struct ends *e)
{
    int rc = 0;
    if (r->pty) {
        rc = terminal_open(r->cols, r->rows, r->user->uid, &e->ours.out, &e->theirs[0]);
        if (rc < 0)
            return rc;
        e->ours.in = fcntl(e->ours.out, F_DUPFD_CLOEXEC, 3);
        e->theirs[1] = fcntl(e->theirs[0], F_DUPFD_CLOEXEC, 3);
        e->theirs[2] = fcntl(e->theirs[0], F_DUPFD_CLOEXEC, 3);
        if (e->ours.in < 0 || e->theirs[1] < 0 || e->theirs[2] < 0)
            return -errno;
    } else {
        if (r->stdin_open)
            rc = open_pipe(&e->theirs[0], &e->ours.in, false);
        else if (r->stdin_from && (e->theirs[0] = fcntl(r->stdin_from, F_DUPFD_CLOEXEC, 3)) < 0)
            rc = -errno;
        else if (!r->stdin_from && (e->theirs[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
            rc = -errno;
        if (rc == 0)
            rc = open_pipe(&e->ours.out, &e->theirs[1], true);
        if (rc == 0)
            rc = open_pipe(&e->ours.err, &e->theirs[2], true);
    }
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = move_up(&e->theirs[i]);
    return rc;
}

static char *take_stack(void)
{
    for (int i = 0; i < STACKS; i++)
        if (setup.stacks[i])
            return TAKE_PTR(setup.stacks[i]);
    void *p = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void give_stack(char *stack)
{
    for (int i = 0; i < STACKS; i++) {
        if (!setup.stacks[i]) {
            setup.stacks[i] = stack;
            return;
        }
    }
    munmap(stack, STACK_SIZE);
}

struct spawn {
    const struct spawn_request *request;
    struct buf paths;
    char **script;
    struct ends ends;
    struct child child;
    char *stack;
    int32_t pid_at; /* where the request has no place for it */
    int rc;         /* pid or -errno */
};

static void spawn_free(struct spawn *s)
{
    if (s->stack)
        give_stack(s->stack);
    ends_done(&s->ends);
    buf_done(&s->paths);
    free(s->script);
    free(s);
}

static int clone_child(struct spawn *s)
{
    int pid = clone(child_main, s->stack + STACK_SIZE,
                    CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD, &s->child,
                    s->request->pid_at ? s->request->pid_at : &s->pid_at);
    return pid < 0 ? -errno : pid;
}

/* Whether the group is so full that what is started in it could not start anything itself. */
static bool is_full(void)
{
    char text[24];
    uint64_t count;
    if (!setup.pids_max || setup.pids_fd < 0)
        return false;
    ssize_t n = pread(setup.pids_fd, text, sizeof text, 0);
    struct str rest = {text, n > 0 ? (size_t)n : 0}, line = STR("");
    str_split(&rest, '\n', &line);
    return str_to_u64(line, UINT32_MAX, &count) == 0 &&
           count >= setup.pids_max - setup.pids_max / FULL_PART;
}

/* Chooses the doors. A group that we are in ourselves and that is full is left first: its children
 * would be refused (v2). */
static void choose_doors(bool crowded, int joins[AGENT_JOINS])
{
    bool full = crowded || is_full();
    pthread_mutex_lock(&setup.lock);
    if (full && setup.leave >= 0 && write(setup.leave, "0", 1) == 1)
        setup.leave = -1;
    bool inside = setup.leave >= 0;
    pthread_mutex_unlock(&setup.lock);
    for (size_t i = 0; i < AGENT_JOINS; i++) {
        joins[i] = inside ? -1 : setup.joins[i];
        if (!inside && full && setup.rescues[i] >= 0)
            joins[i] = setup.rescues[i];
    }
}

void spawn_run(struct spawn *s)
{
    sigset_t all, before;
    /* No handler may run in the child, it would run in our memory. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    choose_doors(s->request->crowded, s->child.joins);
    s->rc = clone_child(s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (s->rc > 0 && s->child.stage == STAGE_NONE)
        oom_expose(s->rc);
}

/* Not by the clone itself, which can write only one of the pid and the pidfd where it is wanted.
 * Nobody but us reaps the child, so the number is its own until we do. */
static int open_pidfd(struct ends *e)
{
    fd_closep(&e->theirs[0]); /* the child has it; so there is one to be had */
    e->ours.pidfd = (int)syscall(SYS_pidfd_open, e->ours.pid, 0);
    if (e->ours.pidfd >= 0)
        return 0;
    int rc = -errno;
    kill(e->ours.pid, SIGKILL);
    waitpid(e->ours.pid, NULL, 0);
    return rc;
}

static int report(const struct spawn_request *r, const struct child *c, struct err *err)
{
    if (c->stage == STAGE_GROUP)
        return err_set(err, ERR_INTERNAL, c->error, "enter the control group");
    if (c->stage == STAGE_DIRECTORY)
        return err_set(err, ERR_INVALID, c->error, "cannot enter cwd '%s'", r->cwd);
    if (c->stage == STAGE_USER)
        return err_set(err, ERR_INVALID, c->error, "cannot become user '%s'", r->user->name);
    return err_set(err, ERR_INVALID, c->error, "cannot take the terminal");
}

static int system_error(int os, const char *what, struct err *err)
{
    if (os == EAGAIN || os == EMFILE || os == ENFILE || os == ENOSPC || os == ENOMEM)
        return err_set(err, ERR_EXHAUSTED, os, "%s", what);
    return err_set(err, ERR_INTERNAL, os, "%s", what);
}

static int prepare(struct spawn *s, struct err *err)
{
    const struct spawn_request *r = s->request;
    size_t argc = 0;
    while (r->argv[argc])
        argc++;
    s->script = xcalloc(argc + 2, sizeof *s->script);
    for (size_t i = 1; i <= argc; i++) /* the final NULL too */
        s->script[i + 1] = r->argv[i];
    if (list_paths(r, &s->paths) < 0)
        return err_set(err, ERR_INVALID, E2BIG, "PATH is too long");
    s->stack = take_stack();
    if (!s->stack)
        return system_error(ENOMEM, "start a process", err);
    int rc = open_ends(r, &s->ends);
    if (rc < 0)
        return system_error(-rc, r->pty ? "open a terminal" : "open pipes", err);
    s->child = (struct child){
        .request = r,
        .paths = buf_ptr(&s->paths),
        .script = s->script,
        .stdio = {s->ends.theirs[0], s->ends.theirs[1], s->ends.theirs[2]},
        /* Only root can switch; anybody can be himself (tests). */
        .switch_user = geteuid() == 0 || geteuid() != r->user->uid,
    };
    return 0;
}

int spawn_begin(const struct spawn_request *request, struct spawn **ret, struct err *err)
{
    struct spawn *s = xcalloc(1, sizeof *s);
    s->request = request;
    s->ends.ours = (struct spawned){.pidfd = -1, .in = -1, .out = -1, .err = -1};
    memset(s->ends.theirs, -1, sizeof s->ends.theirs);
    int rc = prepare(s, err);
    if (rc < 0) {
        spawn_free(s);
        return rc;
    }
    if (request->opened)
        request->opened(&s->ends.ours, request->arg);
    *ret = s;
    return 0;
}

static int finish(struct spawn *s, struct err *err)
{
    if (s->rc < 0)
        return system_error(-s->rc, "start a process", err);
    s->ends.ours.pid = s->rc;
    int rc = open_pidfd(&s->ends);
    if (rc < 0)
        return system_error(-rc, "start a process", err);
    const struct child *child = &s->child;
    if (child->stage == STAGE_NONE || child->stage == STAGE_EXEC)
        return 0;
    if (s->request->pid_at)
        *s->request->pid_at = 0; /* before the number is another's */
    waitid(P_PIDFD, (id_t)s->ends.ours.pidfd, NULL, WEXITED);
    return report(s->request, child, err);
}

int spawn_finish(struct spawn *s, struct spawned *ret, struct err *err)
{
    int rc = finish(s, err);
    if (rc == 0) {
        s->ends.ours.exec_errno = s->child.error;
        *ret = s->ends.ours;
        s->ends.ours = (struct spawned){.pidfd = -1, .in = -1, .out = -1, .err = -1};
    }
    spawn_free(s);
    return rc;
}

int spawn_process(const struct spawn_request *request, struct spawned *ret, struct err *err)
{
    struct spawn *s;
    int rc = spawn_begin(request, &s, err);
    if (rc < 0)
        return rc;
    spawn_run(s);
    return spawn_finish(s, ret, err);
}

void spawn_exec_text(int exec_errno, const char *command, char *out, size_t size)
{
    const char *reason =
        exec_errno == ENOENT || exec_errno == ENOTDIR ? "not found" : strerror(exec_errno);
    snprintf(out, size, "sh: exec: %.200s: %s\n", command, reason);
}
