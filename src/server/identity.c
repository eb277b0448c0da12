/* SPDX-License-Identifier: Apache-2.0 */
/* Users and the dropping of privileges. */
#include "server/identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/str.h"
#include "server/config.h"

int identity_find(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
    uint64_t number;
    struct passwd *entry = getpwnam(user ? user : "carrel");
    if (entry) {
        if (entry->pw_uid == 0)
            return err_set(err, ERR_INVALID, 0, "user: the server must not run as root");
        *ret_uid = entry->pw_uid;
        *ret_gid = entry->pw_gid;
        return 0;
    }
    if (!user) {
        *ret_uid = *ret_gid = CONFIG_DEFAULT_UID;
        return 0;
    }
    if (str_to_u64(str_from(user), UINT32_MAX - 1, &number) < 0)
        return err_set(err, ERR_NOT_FOUND, 0, "user: there is no user \"%s\"", user);
    if (number == 0)
        return err_set(err, ERR_INVALID, 0, "user: the server must not run as root");
    *ret_uid = (uid_t)number;
    entry = getpwuid(*ret_uid);
    *ret_gid = entry ? entry->pw_gid : (gid_t)number;
    return 0;
}

/* Also what a program could gain by exec: nothing in the bounding set. */
static int drop_bounding_set(void)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return -errno;
    return 0;
}

int identity_drop(uid_t uid, gid_t gid, struct err *err)
{
    int rc = drop_bounding_set();
    if (rc < 0)
        return err_os(err, -rc, "empty the capability bounding set");
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return err_os(err, errno, "become uid %u, gid %u", uid, gid);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_os(err, errno, "set no_new_privs");
    if (setuid(0) == 0 || setgid(0) == 0)
        return err_set(err, ERR_INTERNAL, 0, "privileges could be taken back");
    return 0;
}
