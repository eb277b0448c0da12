/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and reaping processes. */
#include "interpreter/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

struct watch {
    LIST_ENTRY(watch) link;
    pid_t pid;
    child_ended_fn *ended;
    void *arg;
};

struct gone {
    pid_t pid;
    int status;
};

static struct {
    LIST_HEAD(, watch) watches;
    struct gone gone[64]; /* ends that nobody watched: a kernel may die before we hear its pid */
    size_t gone_next;
    uv_signal_t signal;
} children;

static struct watch *find(pid_t pid)
{
    struct watch *w;
    LIST_FOREACH(w, &children.watches, link)
    if (w->pid == pid)
        return w;
    return NULL;
}

static void remember(pid_t pid, int status)
{
    children.gone[children.gone_next] = (struct gone){pid, status};
    children.gone_next = (children.gone_next + 1) % ARRAY_SIZE(children.gone);
}

static void on_sigchld(uv_signal_t *handle, int signal_number)
{
    pid_t pid;
    int status;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct watch *w = find(pid);
        if (!w) {
            remember(pid, status);
            continue;
        }
        struct watch copy = *w;
        LIST_REMOVE(w, link);
        free(w);
        copy.ended(pid, status, copy.arg);
    }
}

int child_setup(uv_loop_t *loop)
{
    LIST_INIT(&children.watches);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return -errno;
    int rc = uv_signal_init(loop, &children.signal);
    return rc < 0 ? rc : uv_signal_start(&children.signal, on_sigchld, SIGCHLD);
}

static _Noreturn void become(const struct child_spec *spec, pid_t parent)
{
    sigset_t none;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int moved[CHILD_FDS];
    sigemptyset(&none);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent)
        _exit(127);
    setsid();
    /* Out of the way of 0 to 3 first, since one may be among them. */
    for (int i = 0; i < CHILD_FDS; i++)
        moved[i] = fcntl(spec->fds[i] < 0 ? null : spec->fds[i], F_DUPFD_CLOEXEC, CHILD_FDS);
    for (int i = 0; i < CHILD_FDS; i++)
        dup2(moved[i], i);
    if (spec->cwd && chdir(spec->cwd) < 0)
        dprintf(2, "cannot enter %s: %s\n", spec->cwd, strerror(errno));
    else
        execve(spec->argv[0], spec->argv, spec->envp);
    dprintf(2, "cannot start %s: %s\n", spec->argv[0], strerror(errno));
    _exit(127);
}

pid_t child_spawn(const struct child_spec *spec)
{
    pid_t self = getpid(), pid = fork();
    if (pid == 0)
        become(spec, self);
    return pid < 0 ? -errno : pid;
}

void child_watch(pid_t pid, child_ended_fn *ended, void *arg)
{
    for (size_t i = 0; i < ARRAY_SIZE(children.gone); i++) {
        struct gone *gone = &children.gone[i];
        if (gone->pid != pid)
            continue;
        gone->pid = 0;
        ended(pid, gone->status, arg);
        return;
    }
    struct watch *w = xmalloc(sizeof *w);
    *w = (struct watch){.pid = pid, .ended = ended, .arg = arg};
    LIST_INSERT_HEAD(&children.watches, w, link);
}

void child_forget(pid_t pid)
{
    struct watch *w = find(pid);
    if (!w)
        return;
    LIST_REMOVE(w, link);
    free(w);
}
