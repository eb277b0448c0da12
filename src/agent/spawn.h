/* SPDX-License-Identifier: Apache-2.0 */
/* Starts one process as a user, with pipes or a terminal. Knows nothing of tables or requests.
 *
 * The child is made by clone(CLONE_VM | CLONE_VFORK): nothing is copied, however large the agent is,
 * and the call returns when the child has become its program. A program that cannot be executed is
 * not an error here: the child then ends with 127 or 126 as a shell's would, and exec_errno says why,
 * so that the caller can put the text where the program's stderr would be. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/passwd.h"

/* Once, before the first spawn and before other threads: resets dispositions inherited from our
 * parent, raises the agent's own descriptor limit, ignores SIGPIPE. */
void spawn_setup(void);

/* The descriptors of agent/agent.h by which each child enters the control group whose limits bind
 * users' processes, before anything else; all that comes from it is in it too. They stay open. */
struct agent_start;
void spawn_set_group(const struct agent_start *start);
/* How many processes that group may have: with nearly as many in it, a child enters the rescue group,
 * as those requests do that are `crowded`. 0: no limit. */
void spawn_set_limit(uint32_t pids);

struct spawned;

struct spawn_request {
    char *const *argv; /* argv[0]: a path, or a name looked up in envp's PATH */
    char *const *envp;
    const char *cwd;
    const struct passwd_user *user;
    bool crowded;        /* the sandbox has no memory for another process */
    bool stdin_open;     /* a pipe; else stdin_from or /dev/null */
    int stdin_from;      /* a descriptor that stays the caller's; 0: none */
    bool pty;            /* a terminal for all three, own session */
    uint16_t cols, rows; /* of the terminal; 0: the kernel's default */
    /* For those who may die while we are at it. pid_at, if given, holds the pid from the moment that
     * there is a child, and 0 when there is none (any more). opened is called before that, with the
     * descriptors in place, and may be NULL. */
    int32_t *pid_at;
    void (*opened)(const struct spawned *s, void *arg);
    void *arg;
};

/* Descriptors are non-blocking, close-on-exec and owned by the caller; -1 where there is none. */
struct spawned {
    pid_t pid;
    int pidfd;
    int in;  /* to write standard input, or the terminal's input */
    int out; /* to read standard output, or the terminal */
    int err; /* to read standard error; -1 with a terminal */
    int exec_errno;
};

/* Starting in three steps, so that the middle one, which waits until the child has become its program
 * and competes for memory and CPU time with all that runs in the sandbox, can be in another thread.
 * request is borrowed from the beginning to the end. */
struct spawn;
int spawn_begin(const struct spawn_request *request, struct spawn **ret, struct err *err);
void spawn_run(struct spawn *s);
/* The result, as of spawn_process. Frees s. */
int spawn_finish(struct spawn *s, struct spawned *ret, struct err *err);

/* All at once. 0, or negative errno with err set: ERR_INVALID when the working directory cannot be entered,
 * ERR_EXHAUSTED when processes, descriptors or terminals ran out. */
int spawn_process(const struct spawn_request *request, struct spawned *ret, struct err *err);

/* What a shell would print for this exec error ("sh: exec: x: not found\n"). */
void spawn_exec_text(int exec_errno, const char *command, char *out, size_t size);
