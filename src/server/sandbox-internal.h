/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about a sandbox's transitions share. */
#pragma once

#include "base/clock.h"
#include "server/launcher_link.h"
#include "server/sandbox.h"

#define CREATE_TIMEOUT (60 * CLOCK_S)

/* Tells those who wait now; who begins to wait meanwhile waits for the next transition. */
void sandbox_settle(struct sandbox *sandbox, const struct err *err);
/* Sets the timer to its end. */
void sandbox_arm(struct sandbox *sandbox);
/* Writes what changes during a life; a failure is logged. */
void sandbox_save_life(struct sandbox *sandbox);
/* Calls the launcher about it. */
void sandbox_call(struct sandbox *sandbox, enum launcher_op op, int64_t timeout,
                  launcher_done_fn *done);
/* Has the launcher make it, or start it again from the files it has. */
void sandbox_order(struct sandbox *sandbox, const struct network *network, struct str agent_config,
                   bool again, launcher_done_fn *done);
