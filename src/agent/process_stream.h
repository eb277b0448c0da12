/* SPDX-License-Identifier: Apache-2.0 */
/* A reader of a process's output at the other end of a stream. */
#pragma once

#include "agent/process.h"
#include "agent/route.h"

/* Answers the request with the process's events: start, output, end. The starter's stream ends with
 * deadline_exceeded when the process's deadline strikes; another's own limit ends only its stream.
 * from: offset in the output to begin at; -1: what nobody has been given yet. */
void process_stream_open(struct process *p, const struct rpc_request *request, bool starter,
                         int64_t from);
