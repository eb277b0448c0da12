/* SPDX-License-Identifier: Apache-2.0 */
/* The nursery: one Python process that has imported what kernels need and forks one when asked, so
 * that a kernel costs milliseconds and shares its memory with the others. See python/nursery.py. */
#pragma once

#include <sys/types.h>
#include <uv.h>

struct nursery;
struct nursery_birth;

/* Everything that can be imported in advance has been. */
typedef void nursery_warm_fn(void *arg);
/* First there is a process (pid > 0) or none will be (-errno); then it listens on its sockets (0). */
typedef void nursery_born_fn(pid_t pid, void *arg);

/* Starts the process, and starts it again whenever it dies. */
struct nursery *nursery_open(uv_loop_t *loop, char **envp, nursery_warm_fn *warm, void *arg);

struct nursery_request {
    const char *connection_file;
    const char *cwd;
    char **envp;
    int out, err; /* borrowed */
};
/* born is called later, until the birth is over or forgotten; a process that dies before it listens
 * must be noticed by its pid. */
struct nursery_birth *nursery_fork(struct nursery *n, const struct nursery_request *request,
                                   nursery_born_fn *born, void *arg);
void nursery_forget(struct nursery_birth *birth);
