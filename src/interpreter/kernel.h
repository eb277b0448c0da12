/* SPDX-License-Identifier: Apache-2.0 */
/* The one face of all kernels: something that runs one piece of code after another and tells what
 * comes of it. Behind it is a Jupyter kernel over ZeroMQ (jupyter.h) or a driver of ours over a
 * language's own interpreter (driver.h).
 *
 * A kernel is starting, then ready, then dead. Its owner executes one thing at a time. No event but
 * `accepted` comes from inside a call that the owner makes, and none after kernel_close, which may
 * be called from inside any event. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "base/str.h"

struct kernel;

struct kernel_events {
    void (*ready)(void *arg);
    /* Of the execution that runs. */
    void (*accepted)(json_int_t execution_count, void *arg);
    void (*output)(bool is_stderr, struct str text, void *arg);
    void (*result)(const json_t *bundle, bool is_main, void *arg);
    void (*failed)(struct str name, struct str value, struct str traceback, void *arg);
    void (*done)(void *arg);
    /* The process is gone; why is for people. Only kernel_close may follow. */
    void (*dead)(const char *why, void *arg);
};

/* Variables around one execution: name → text, or null to remove it. Both may be NULL. */
struct kernel_env {
    json_t *before;
    json_t *after;
};

struct kernel_ops {
    void (*execute)(struct kernel *k, struct str code, const struct kernel_env *env);
    void (*interrupt)(struct kernel *k);
    void (*pause)(struct kernel *k, bool pause);
    void (*close)(struct kernel *k);
};

/* First member of each kind. */
struct kernel {
    const struct kernel_ops *ops;
    const struct kernel_events *events;
    void *arg;
};

struct kernel_options {
    uv_loop_t *loop;
    const struct kernel_events *events;
    void *arg;
    const char *cwd;
    char **envp; /* borrowed */
};

static inline void kernel_execute(struct kernel *k, struct str code, const struct kernel_env *env)
{
    k->ops->execute(k, code, env);
}

/* As Ctrl-C: the execution ends with an error, the state stays. */
static inline void kernel_interrupt(struct kernel *k)
{
    k->ops->interrupt(k);
}

/* Back-pressure: a paused kernel's output is not read. */
static inline void kernel_pause(struct kernel *k, bool pause)
{
    k->ops->pause(k, pause);
}

/* Ends the process and frees the kernel. */
static inline void kernel_close(struct kernel *k)
{
    k->ops->close(k);
}
