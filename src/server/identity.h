/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the server runs as, and the way there without a way back. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/* The user for --user (NULL: "carrel" if it exists, else CONFIG_DEFAULT_UID). 0 or -errno. */
int identity_find(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err);
/* Becomes that user for good: no groups, no capabilities, no new privileges. 0 or -errno. */
int identity_drop(uid_t uid, gid_t gid, struct err *err);
