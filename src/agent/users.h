/* SPDX-License-Identifier: Apache-2.0 */
/* Whose work a request is (protocol.md 3.1, 5.1). */
#pragma once

#include "agent/route.h"

/* The named user, or the configured default when name.p is NULL. ERR_UNAUTHENTICATED when there is no
 * such user or no default. Free with passwd_user_done. */
int agent_user(const struct agent *agent, struct str name, struct passwd_user *ret,
               struct err *err);
