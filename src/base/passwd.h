/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups read from passwd and group files directly: the agent is static and runs in any
 * root file system, so there is no NSS. Hostile content is possible: bad lines are skipped. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/str.h"

enum { PASSWD_GROUPS_MAX = 256 };

struct passwd_user {
    char *name;
    uid_t uid;
    gid_t gid;
    char *home;
    char *shell;
    gid_t *groups; /* primary first, then supplementary */
    size_t group_count;
};

/* Looks a user up by name in <root>/etc/passwd and <root>/etc/group ("" for the own root). 0,
 * -ENOENT if there is no such user, or -errno. Free with passwd_user_done. */
int passwd_lookup(const char *root, struct str name, struct passwd_user *ret);
void passwd_user_done(struct passwd_user *user);

/* Names of ids, for listings. Owned by the caller; numeric text if the id has no name. */
char *passwd_user_name(const char *root, uid_t uid);
char *passwd_group_name(const char *root, gid_t gid);
