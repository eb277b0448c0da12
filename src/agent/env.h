/* SPDX-License-Identifier: Apache-2.0 */
/* The environment of a started process (protocol.md 5.2). */
#pragma once

#include "agent/config.h"
#include "base/passwd.h"

/* A standard PATH, then HOME, USER, LOGNAME of the user, the sandbox's variables, the request's own:
 * later ones replace earlier ones of the same name. NULL-terminated, for execve; free with
 * env_free. */
char **env_build(const struct agent_config *config, const struct passwd_user *user,
                 const struct agent_env *own, size_t own_count);
void env_free(char **env);
