/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's view of a sandbox, from the host: what cannot be seen from inside, or should not be
 * believed when it comes from there. */
#pragma once

#include <stdint.h>

#include "cli/selftest_report.h"

struct selftest_outside {
    const char *state_dir;
    const char *run_dir;
    const char *id;
    uint64_t memory_bytes;
    uint32_t pids;
    uint32_t cpu_millis;
};

/* Init of a running sandbox as the host sees it, from its record; 0 if there is none. */
int selftest_outside_pid(const struct selftest_outside *o);
/* Looks at a running sandbox; one row a property. */
void selftest_outside_look(const struct selftest_outside *o, struct selftest_report *report);
/* After its end: waits some seconds for what goes on in the background, then tells what is left. */
void selftest_outside_left(const struct selftest_outside *o, int pid,
                           struct selftest_report *report);
