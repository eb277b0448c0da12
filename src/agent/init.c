/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of a sandbox: reaps, keeps an agent running and what the agent hangs on (agent/keep.h), ends
 * when the host says so. It reads nothing from anyone inside but its own agent's short messages. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/handover.h"
#include "agent/keep.h"
#include "agent/upload_journal.h"
#include "base/clock.h"
#include "base/fd.h"

enum {
    RESTART_FIRST_MS = 10,  /* wait before the agent is started again, doubled each time ... */
    RESTART_MOST_MS = 1000, /* ... up to this */
    RESTART_QUIET_MS = 200, /* an agent that lived this long did not fail at once */
    PROGRAM_TRIES = 3,
    EXIT_NOT_THAT_PROGRAM = 72,
};

struct agent_life {
    pid_t pid;        /* -1 while it is down */
    int64_t began;    /* monotonic ns */
    int64_t again;    /* when to start it, if it is down */
    int64_t delay_ms; /* before the next start */
    int early_deaths; /* in a row */
    bool held;        /* stopped on behalf of the host */
};

struct init {
    struct agent_start start;
    struct agent_life agent;
    int control; /* brings programs for the agent; -1: there can be none */
    int program; /* what the agent is, -1: what is in ourselves */
    struct rlimit descriptors; /* as the agent and its processes are to have them */
    int signals;
};

static _Noreturn void become_agent(struct init *init)
{
    sigset_t none;
    close(init->signals);
    close(init->control);
    close(AGENT_CONTROL_FD);
    if (init->start.keep)
        keep_became_agent(init->start.keep);
    setrlimit(RLIMIT_NOFILE, &init->descriptors);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_NAME, "carrel-agent", 0, 0, 0);
    if (init->program < 0)
        _exit(agent_main(&init->start));
    handover_exec(init->program, &init->start);
    _exit(EXIT_NOT_THAT_PROGRAM);
}

static void start_agent(struct init *init)
{
    struct agent_life *agent = &init->agent;
    pid_t pid = -1;
    agent->began = clock_mono_ns();
    if (!init->start.keep || keep_link_open(init->start.keep) == 0)
        pid = fork();
    if (pid == 0)
        become_agent(init);
    if (init->start.keep)
        keep_became_parent(init->start.keep);
    agent->pid = pid;
    if (pid >= 0 && agent->held)
        kill(pid, SIGSTOP);
    if (pid >= 0)
        return;
    /* No process to be had (the sandbox used up its limit): try again later. */
    agent->again = agent->began + RESTART_MOST_MS * CLOCK_MS;
    if (init->start.keep)
        keep_link_close(init->start.keep);
}

static void agent_ended(struct init *init)
{
    struct agent_life *agent = &init->agent;
    int64_t now = clock_mono_ns();
    if (init->start.keep) {
        keep_serve(init->start.keep); /* its last words */
        keep_link_close(init->start.keep);
    }
    if (now - agent->began > RESTART_QUIET_MS * CLOCK_MS)
        agent->delay_ms = agent->early_deaths = 0;
    else if (++agent->early_deaths >= PROGRAM_TRIES)
        fd_closep(&init->program); /* it may be the program's fault */
    agent->pid = -1;
    agent->again = now + agent->delay_ms * CLOCK_MS;
    agent->delay_ms = agent->delay_ms ? agent->delay_ms * 2 : RESTART_FIRST_MS;
    if (agent->delay_ms > RESTART_MOST_MS)
        agent->delay_ms = RESTART_MOST_MS;
}

/* A program has come from the host: the agent dies, the next one is that. */
static void take_program(struct init *init)
{
    int fds[1];
    size_t count = 1;
    char byte;
    if (fd_receive(init->control, &byte, 1, fds, &count) < 0 || count == 0)
        return;
    int program = fcntl(fds[0], F_DUPFD_CLOEXEC, AGENT_PROGRAM_FD);
    close(fds[0]);
    if (program < 0)
        return;
    dup3(program, AGENT_PROGRAM_FD, O_CLOEXEC);
    if (program != AGENT_PROGRAM_FD)
        close(program);
    init->program = AGENT_PROGRAM_FD;
    init->agent.delay_ms = 0;
    init->agent.early_deaths = -1; /* this one is not its own */
    if (init->agent.pid > 0)
        kill(init->agent.pid, SIGKILL);
}

/* The host's end is where it expects it, see agent/handover.h. */
static int open_control(void)
{
    int ends[2];
    if (fcntl(AGENT_CONTROL_FD, F_GETFD) >= 0 || fcntl(AGENT_PROGRAM_FD, F_GETFD) >= 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    dup3(ends[1], AGENT_CONTROL_FD, O_CLOEXEC);
    close(ends[1]);
    return ends[0];
}

static void hold(struct agent_life *agent, bool on)
{
    agent->held = on;
    if (agent->pid > 0)
        kill(agent->pid, on ? SIGSTOP : SIGCONT);
}

static void reap(struct init *init)
{
    for (;;) {
        siginfo_t info = {0};
        /* Root inside may stop the agent, but not for long. */
        if (init->agent.pid > 0 &&
            waitid(P_PID, (id_t)init->agent.pid, &info, WSTOPPED | WNOHANG) == 0 && info.si_pid &&
            !init->agent.held)
            kill(info.si_pid, SIGCONT);
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        /* Before the number is free for another process. */
        if (init->start.keep && info.si_pid != init->agent.pid)
            keep_ended(init->start.keep, &info);
        waitpid(info.si_pid, NULL, 0);
        if (info.si_pid == init->agent.pid)
            agent_ended(init);
    }
}

/* A signal from an ancestor's pid namespace has no sender's pid here. SI_USER cannot be forged
 * from inside: kill(2) fills the pid in, and sigqueue(2) may not claim that code. */
static bool from_outside(const struct signalfd_siginfo *info)
{
    return info->ssi_code == SI_USER && info->ssi_pid == 0;
}

static void end_all(void)
{
    if (getpid() != 1)
        _exit(1); /* not in a sandbox of its own: the line below would mean everybody */
    kill(-1, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
}

/* Waits for a signal, a message or the time to start the agent. The signal, if it is from outside,
 * else 0. */
static int wait_for_work(struct init *init)
{
    struct signalfd_siginfo info;
    struct pollfd fds[] = {{.fd = init->signals, .events = POLLIN},
                           {.fd = -1, .events = POLLIN},
                           {.fd = init->control, .events = POLLIN}};
    int64_t wait_ms = -1;
    if (init->agent.pid < 0) {
        int64_t left = init->agent.again - clock_mono_ns();
        wait_ms = left > 0 ? (left + CLOCK_MS - 1) / CLOCK_MS : 0;
    } else if (init->start.keep) {
        fds[1].fd = keep_link(init->start.keep);
    }
    poll(fds, sizeof fds / sizeof *fds, (int)wait_ms);
    if (fds[1].revents)
        keep_serve(init->start.keep);
    if (fds[2].revents)
        take_program(init);
    if (fds[0].revents && read(init->signals, &info, sizeof info) == (ssize_t)sizeof info &&
        from_outside(&info))
        return (int)info.ssi_signo;
    return 0;
}

int init_main(const struct agent_start *start)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    struct init init = {.start = *start, .agent = {.pid = -1}, .program = -1};
    init.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (init.signals < 0 || getrlimit(RLIMIT_NOFILE, &init.descriptors) < 0)
        return 1;
    /* Without it the agent runs as well, and takes its processes' output along when it dies. */
    init.start.keep = keep_new();
    init.control = init.start.keep ? open_control() : -1;
    struct rlimit most = {init.descriptors.rlim_max, init.descriptors.rlim_max};
    setrlimit(RLIMIT_NOFILE, &most);
    upload_journal_open(); /* outlives the agent */
    init.start.in_group = start->leave_fd >= 0;
    start_agent(&init);
    /* Takes long, which the first agent does for itself, and later ones need not. */
    if (init.start.in_group && write(start->leave_fd, "0", 1) == 1)
        init.start.in_group = false;
    for (;;) {
        int sig = wait_for_work(&init);
        if (sig == SIGTERM) {
            end_all();
            return 0;
        }
        if (sig == SIGUSR1 || sig == SIGUSR2)
            hold(&init.agent, sig == SIGUSR1);
        /* Also without SIGCHLD: many that come at once are told once. */
        reap(&init);
        if (init.agent.pid < 0 && clock_mono_ns() >= init.agent.again)
            start_agent(&init);
    }
}
