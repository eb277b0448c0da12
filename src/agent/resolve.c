/* SPDX-License-Identifier: Apache-2.0 */
/* Path resolution. */
#include "agent/resolve.h"

#include "base/mem.h"
#include "base/path.h"

static int in_home(const struct passwd_user *user, struct str rest, char **ret)
{
    while (rest.len && rest.p[0] == '/')
        rest = (struct str){rest.p + 1, rest.len - 1};
    _cleanup_free_ char *name = xstrndup(rest.p, rest.len);
    *ret = rest.len ? path_join(user->home, name) : xstrdup(user->home);
    return 0;
}

int resolve_path(const struct passwd_user *user, const char *workdir, struct str path, char **ret,
                 struct err *err)
{
    if (path.len && memchr(path.p, '\0', path.len))
        return err_set(err, ERR_INVALID, 0, "path contains a NUL byte");
    if (path.len == 0) {
        *ret = xstrdup(workdir && *workdir ? workdir : user->home);
        return 0;
    }
    if (path.p[0] == '/') {
        *ret = xstrndup(path.p, path.len);
        return 0;
    }
    if (path.p[0] == '~') {
        if (path.len > 1 && path.p[1] != '/')
            return err_set(err, ERR_INVALID, 0,
                           "path '%.*s': the home directory of another user cannot be expanded",
                           path.len > 100 ? 100 : (int)path.len, path.p);
        return in_home(user, (struct str){path.p + 1, path.len - 1}, ret);
    }
    return in_home(user, path, ret);
}
