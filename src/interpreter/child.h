/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of the service: started, adopted, reaped.
 *
 * The service is a subreaper: kernels that the nursery forks, and whatever a kernel leaves behind,
 * become its children, so that one SIGCHLD handler hears of every end with its status. */
#pragma once

#include <sys/types.h>
#include <uv.h>

/* The process has ended; status is as wait(2) gives it. */
typedef void child_ended_fn(pid_t pid, int status, void *arg);

int child_setup(uv_loop_t *loop);

enum { CHILD_FDS = 4 };

struct child_spec {
    char *const *argv; /* argv[0]: a path */
    char *const *envp;
    const char *cwd;
    int fds[CHILD_FDS]; /* become 0 to 3; -1: /dev/null */
};
/* Starts a process that is killed when we die, in a session of its own. The pid, or -errno; a
 * program that cannot be executed ends with 127. */
pid_t child_spawn(const struct child_spec *spec);

/* Calls ended once, later. For a child that has already been reaped too, if that was lately. */
void child_watch(pid_t pid, child_ended_fn *ended, void *arg);
void child_forget(pid_t pid);
