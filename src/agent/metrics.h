/* SPDX-License-Identifier: Apache-2.0 */
/* What the sandbox uses, for GET /metrics. */
#pragma once

#include "agent/agent.h"

struct metrics;

/* Borrows the descriptors of start; a missing one gives the machine's figures instead. */
struct metrics *metrics_new(const struct agent_start *start);
void metrics_free(struct metrics *metrics);
