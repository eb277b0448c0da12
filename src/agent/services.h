/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that run for as long as the sandbox does: those that its template's manifest names, such
 * as the code interpreter. They are started with the sandbox and again whenever they end.
 *
 * A service finds the sandbox's variables, which may become others after it was started, in the file
 * SERVICES_ENVS, one JSON object, readable by root. An agent that starts anew starts its services
 * anew: one that may still run from before has to see to it that there is only one of it. */
#pragma once

#include <uv.h>

#include "agent/config.h"

#define SERVICES_ENVS "/run/carrel/envs.json"

struct services;

/* Starts those of the configuration, which is borrowed for ever. oom_fd, the control group's count of
 * out-of-memory kills, is their standard input, so that they can tell why a process of theirs was
 * killed; -1: they have none. */
struct services *services_start(uv_loop_t *loop, const struct agent_config *config, int oom_fd);
/* The configuration is another: its variables are written down. Which services there are does not
 * change any more. */
void services_configure(struct services *services);
