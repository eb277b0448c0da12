/* SPDX-License-Identifier: Apache-2.0 */
/* One small request of the server's own to the agent of a sandbox, whose answer's body nobody reads. */
#pragma once

#include "base/str.h"

struct agent_call;
struct server;

/* Status of the answer, or negative errno when there is none in time. Once, never from inside
 * agent_call_start; the call is freed already. */
typedef void agent_call_done_fn(int status, void *arg);

/* Body may be empty; content_type is what it is, NULL where the agent knows. 0 with *ret,
 * which is valid until done is called; or -errno, and done is not called. */
int agent_call_start(struct server *server, const char *sandbox_id, const char *method,
                     const char *target, const char *content_type, struct str body,
                     uint64_t timeout_ms, agent_call_done_fn *done, void *arg,
                     struct agent_call **ret);
/* Ends it without calling back; NULL is fine. */
void agent_call_cancel(struct agent_call *call);
