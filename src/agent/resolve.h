/* SPDX-License-Identifier: Apache-2.0 */
/* Path resolution as every file call does it (protocol.md 5.5): text only, the kernel sees `..` and
 * symlinks as they are. Used for cwd, too. */
#pragma once

#include "base/err.h"
#include "base/passwd.h"
#include "base/str.h"

/*   ""         workdir, or the home directory when that is NULL
 *   ~, ~/x     the home directory, x in it
 *   ~name      ERR_INVALID
 *   /x         /x
 *   x          x in the home directory (not in the workdir)
 *
 * 0 and a fresh absolute path in *ret, or ERR_INVALID, also for a NUL in the path. All other bytes
 * may stand in a path. */
int resolve_path(const struct passwd_user *user, const char *workdir, struct str path, char **ret,
                 struct err *err);
