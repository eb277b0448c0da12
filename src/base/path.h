/* SPDX-License-Identifier: Apache-2.0 */
/* Path text: joining, last component. Knows nothing of what exists. */
#pragma once

#include "base/str.h"

/* "dir/name" in a fresh allocation, without doubling the slash. */
char *path_join(const char *dir, const char *name);
/* Last component, trailing slashes ignored; "/" for the root. */
struct str path_base(struct str path);
/* All before the last component, without trailing slashes; "/" or "." if there is none. */
struct str path_dir(struct str path);
/* mkdir -p on the host with the given mode for new levels. 0 or -errno. */
int path_make_dirs(const char *path, unsigned mode);
