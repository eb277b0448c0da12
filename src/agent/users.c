/* SPDX-License-Identifier: Apache-2.0 */
/* Whose work a request is. */
#include "agent/users.h"

#include <errno.h>

int agent_user(const struct agent *agent, struct str name, struct passwd_user *ret, struct err *err)
{
    if (!name.p)
        name = str_from(agent->config.default_user);
    if (!name.p)
        return err_set(err, ERR_UNAUTHENTICATED, 0, "no user specified");
    int rc = passwd_lookup("", name, ret);
    if (rc == 0)
        return 0;
    int shown = name.len > 64 ? 64 : (int)name.len;
    if (rc == -ENOENT)
        return err_set(err, ERR_UNAUTHENTICATED, 0, "invalid username: '%.*s'", shown, name.p);
    return err_set(err, ERR_INTERNAL, -rc, "look up user '%.*s'", shown, name.p);
}
