/* SPDX-License-Identifier: Apache-2.0 */
/* Entry points of what runs inside a sandbox. Called by the zygote's child once all isolation is
 * in place: it is PID 1 then, root of the sandbox's own user namespace, not dumpable, and never
 * execs, so nothing of ours is a file in there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct keep;

enum { AGENT_JOINS = 3 };

/* Descriptors are -1 where there is none. */
struct agent_start {
    int listen_fd; /* listening AF_UNIX stream socket: agent.sock as the server sees it */
    /* Of the control group that holds the users' processes, read-only: */
    int memory_fd; /* memory in use */
    int cpu_fd;    /* cpu time used: nanoseconds, or v2's cpu.stat */
    int oom_fd;    /* memory.oom_control, or v2's memory.events */
    int pids_fd;   /* how many processes */
    /* A process that writes "0" moves into that group, whoever it is: the files were opened by
     * root. */
    int join_fds[AGENT_JOINS];
    /* The same for a process that would find no room in it. */
    int rescue_fds[AGENT_JOINS];
    /* v2: init and agent are born in that group, since entering another takes long, and move to the
     * agents' group by this when they are at leisure. */
    int leave_fd;
    bool in_group;      /* still in it */
    const char *config; /* first configuration, JSON, see agent/config.h */
    size_t config_len;
    struct keep *keep;     /* what init keeps for agents; NULL: nothing does */
    const char *spool_dir; /* where output that memory does not hold goes; NULL: the root */
};

/* PID 1: forks the agent, reaps what is orphaned, restarts the agent when it dies. From outside,
 * SIGTERM ends all, SIGUSR1 stops the agent and SIGUSR2 lets it go on; nobody inside can stop it for
 * long. Never returns while the sandbox lives; the result is init's exit status. */
int init_main(const struct agent_start *start);

/* The agent's own loop. The result is its exit status. */
int agent_main(const struct agent_start *start);
