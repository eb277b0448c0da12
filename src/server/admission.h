/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the host has room for another sandbox. Looked at before anything is started: a host that
 * swaps, fills its disk or runs out of processes hurts all sandboxes on it. */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct server;

struct admission_room {
    uint64_t memory; /* bytes the host could give without swapping */
    uint64_t disk;   /* bytes free for us where state is kept */
    uint64_t tasks;  /* processes and threads that can still be started */
};

/* UINT64_MAX for what cannot be found out. */
void admission_look(const char *state, struct admission_room *ret);

/* For one more sandbox of the project. 0, or a negative errno; then err says what is missing and
 * *ret_cause is one word for programs: "sandboxes", "project", "memory", "disk" or "tasks".
 * ERR_EXHAUSTED is a limit that was set, ERR_UNAVAILABLE one of the host. */
int admission_check(struct server *server, const char *project, const char **ret_cause,
                    struct err *err);
