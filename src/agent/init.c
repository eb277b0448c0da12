/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of a sandbox: reaps, keeps an agent running, ends when the host says so. It reads nothing
 * from anyone inside. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/upload_journal.h"
#include "base/clock.h"

enum {
    RESTART_FIRST_MS = 10,   /* wait before the agent is started again, doubled each time ... */
    RESTART_MOST_MS = 5000,  /* ... up to this */
    RESTART_QUIET_MS = 2000, /* an agent that lived this long did not fail at once */
};

struct agent_life {
    pid_t pid;        /* -1 while it is down */
    int64_t began;    /* monotonic ns */
    int64_t again;    /* when to start it, if it is down */
    int64_t delay_ms; /* before the next start */
};

static void start_agent(const struct agent_start *start, struct agent_life *agent)
{
    agent->began = clock_mono_ns();
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_NAME, "carrel-agent", 0, 0, 0);
        _exit(agent_main(start));
    }
    agent->pid = pid;
    /* No process to be had (the sandbox used up its limit): try again later. */
    if (pid < 0)
        agent->again = agent->began + RESTART_MOST_MS * CLOCK_MS;
}

static void agent_ended(struct agent_life *agent)
{
    int64_t now = clock_mono_ns();
    if (now - agent->began > RESTART_QUIET_MS * CLOCK_MS)
        agent->delay_ms = 0;
    agent->pid = -1;
    agent->again = now + agent->delay_ms * CLOCK_MS;
    agent->delay_ms = agent->delay_ms ? agent->delay_ms * 2 : RESTART_FIRST_MS;
    if (agent->delay_ms > RESTART_MOST_MS)
        agent->delay_ms = RESTART_MOST_MS;
}

static void reap(struct agent_life *agent)
{
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid <= 0)
            return;
        if (pid == agent->pid)
            agent_ended(agent);
    }
}

/* A signal from an ancestor's pid namespace has no sender's pid here. SI_USER cannot be forged
 * from inside: kill(2) fills the pid in, and sigqueue(2) may not claim that code. */
static bool from_outside(const siginfo_t *info)
{
    return info->si_code == SI_USER && info->si_pid == 0;
}

static void end_all(void)
{
    kill(-1, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
}

int init_main(const struct agent_start *start)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    struct agent_life agent = {.pid = -1};
    upload_journal_open(); /* outlives the agent */
    start_agent(start, &agent);
    for (;;) {
        siginfo_t info;
        int sig;
        if (agent.pid >= 0) {
            sig = sigwaitinfo(&all, &info);
        } else {
            int64_t left = agent.again - clock_mono_ns();
            left = left > 0 ? left : 0;
            const struct timespec wait = {left / CLOCK_S, left % CLOCK_S};
            sig = sigtimedwait(&all, &info, &wait);
        }
        if (sig == SIGTERM && from_outside(&info)) {
            end_all();
            return 0;
        }
        /* Also without SIGCHLD: many that come at once are told once. */
        reap(&agent);
        if (agent.pid < 0 && clock_mono_ns() >= agent.again)
            start_agent(start, &agent);
    }
}
