/* SPDX-License-Identifier: Apache-2.0 */
/* Entry points of what runs inside a sandbox. Called by the zygote's child once all isolation is
 * in place: it is PID 1 then, root of the sandbox's own user namespace, not dumpable, and never
 * execs, so nothing of ours is a file in there. */
#pragma once

#include <stddef.h>

struct keep;

struct agent_start {
    int listen_fd;      /* listening AF_UNIX stream socket: agent.sock as the server sees it */
    int memory_fd;      /* cgroup's memory-in-use file, read-only; -1 if there is none */
    int cpu_fd;         /* cgroup's cpu time file (nanoseconds, or v2 cpu.stat); -1 if none */
    const char *config; /* first configuration, JSON, see agent/config.h */
    size_t config_len;
    struct keep *keep;     /* what init keeps for agents; NULL: nothing does */
    const char *spool_dir; /* where output that memory does not hold goes; NULL: the root */
};

/* PID 1: forks the agent, reaps what is orphaned, restarts the agent when it dies. Never returns
 * while the sandbox lives; the result is init's exit status. */
int init_main(const struct agent_start *start);

/* The agent's own loop. The result is its exit status. */
int agent_main(const struct agent_start *start);
