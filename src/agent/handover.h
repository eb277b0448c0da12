/* SPDX-License-Identifier: Apache-2.0 */
/* The agent as another program than init, so that a newer one can take over while a sandbox runs.
 * init is given a program by the host alone: by a descriptor sent to AGENT_CONTROL_FD, one end of a
 * socket pair that init keeps for whoever can take a descriptor out of it (pidfd_getfd, which needs
 * rights over init that nobody inside has). init reads the descriptor and nothing else. Where the
 * agent it forked would have gone on as it was, it then becomes that program, with all that init
 * keeps. If the program ends at once, again and again, init forgets it and goes on with the agent it has in itself. */
#pragma once

#include <stdbool.h>

#include "agent/agent.h"

/* Places in init that the host knows of: its end of the pair, and the program in use, if any. */
enum { AGENT_CONTROL_FD = 60, AGENT_PROGRAM_FD = 61 };

/* In the child of init that is to be the agent. Returns only when that cannot be. */
void handover_exec(int program, const struct agent_start *start);

/* In a program's main: whether it was started by that. */
bool handover_asked(int argc, char **argv);
/* Goes on with what was handed over. The result is the exit status. */
int handover_main(char **argv);
