/* SPDX-License-Identifier: Apache-2.0 */
/* Who goes first when memory runs out. */
#pragma once

#include <sys/types.h>

/* Makes a process that was just started, and what it may have started already, a better victim for
 * the out-of-memory killer than the agent, whose low score it has inherited. To be called as soon as
 * it has become its program. Failure is silent: the process may have ended. */
void oom_expose(pid_t pid);
