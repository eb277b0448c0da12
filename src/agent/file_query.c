/* SPDX-License-Identifier: Apache-2.0 */
/* The query of /files. */
#include "agent/file_query.h"

#include "agent/resolve.h"
#include "base/mem.h"

int file_query_user(struct agent *agent, struct str name, struct passwd_user *ret, struct err *err)
{
    if (name.len == 0)
        name = str_from(agent->config.default_user);
    if (name.len == 0) {
        err_set(err, ERR_INVALID, 0, "no user specified");
        return 400;
    }
    if (passwd_lookup("", name, ret) == 0)
        return 0;
    err_set(err, ERR_UNAUTHENTICATED, 0, "error looking up user '%.*s': user: unknown user %.*s",
            name.len > 64 ? 64 : (int)name.len, name.p, name.len > 64 ? 64 : (int)name.len, name.p);
    return 401;
}

static int read_parts(struct agent *agent, struct str query, struct buf *name, struct buf *path,
                      struct file_query *q, struct err *err)
{
    bool bad_name = false, bad_path = false;
    http_query_get(query, "username", name, &bad_name);
    bool has_path = http_query_get(query, "path", path, &bad_path) && (bad_path || buf_len(path));
    if (bad_name || bad_path) {
        err_set(err, ERR_INVALID, 0, "malformed query parameter '%s'",
                bad_name ? "username" : "path");
        return 400;
    }
    int status = file_query_user(agent, buf_str(name), &q->user, err);
    if (status)
        return status;
    if (agent->config.default_workdir)
        q->workdir = xstrdup(agent->config.default_workdir);
    if (!has_path || resolve_path(&q->user, q->workdir, buf_str(path), &q->path, err) == 0)
        return 0;
    return 400;
}

int file_query_read(struct agent *agent, const struct http_request *request, struct file_query *ret,
                    struct err *err)
{
    struct file_query q = {0};
    struct buf name, path;
    buf_init(&name, HTTP_HEAD_BYTES_MAX);
    buf_init(&path, HTTP_HEAD_BYTES_MAX);
    int status = read_parts(agent, request->query, &name, &path, &q, err);
    buf_done(&name);
    buf_done(&path);
    if (status)
        file_query_done(&q);
    else
        *ret = q;
    return status;
}

void file_query_done(struct file_query *q)
{
    passwd_user_done(&q->user);
    free(q->workdir);
    free(q->path);
    *q = (struct file_query){0};
}
