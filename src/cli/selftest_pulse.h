/* SPDX-License-Identifier: Apache-2.0 */
/* Asks again and again, from a thread of its own, whether server and agent still answer and whether
 * the host still gets its own, while a sandbox is under attack from within. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cli/api.h"

struct selftest_pulse;

struct selftest_pulse_result {
    size_t asked;
    int64_t server_worst_ns, agent_worst_ns;
    char server_error[248], agent_error[248]; /* the first, "" if none */
    size_t inotify_refused;                   /* how often the host got no inotify instance */
    size_t inotify_asked;
};

/* The sandbox is borrowed until the end. NULL with err. */
struct selftest_pulse *selftest_pulse_start(const struct api_options *options,
                                            const struct api_sandbox *sandbox, struct err *err);
/* Ends the thread and frees the handle. */
void selftest_pulse_stop(struct selftest_pulse *pulse, struct selftest_pulse_result *ret);
