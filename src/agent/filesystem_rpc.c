/* SPDX-License-Identifier: Apache-2.0 */
/* filesystem.Stat, MakeDir, Move and Remove (protocol.md 5.6, 5.8). All but large removals are a few
 * system calls and done on the loop. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "agent/entry.h"
#include "agent/handlers.h"
#include "agent/job.h"
#include "agent/resolve.h"
#include "agent/tree.h"
#include "base/mem.h"
#include "rpc/jsonx.h"

enum { ANSWER_MAX = 1 << 20 };

static int read_path(struct agent *agent, const struct rpc_request *request, const json_t *in,
                     const char *member, char **ret, struct err *err)
{
    struct str path = STR("");
    int r = jsonx_text(in, member, &path, err);
    return r < 0 ? r : resolve_path(request->user, agent->config.default_workdir, path, ret, err);
}

/* Errors of looking at a path. Below a file there is nothing, which is what `exists` wants to hear. */
static int look_error(struct err *err, int os, const char *path)
{
    if (os == ENOENT || os == ENOTDIR)
        return err_set(err, ERR_NOT_FOUND, 0, "file not found: %s", path);
    if (os == ENAMETOOLONG)
        return err_set(err, ERR_INVALID, os, "path '%.60s...'", path);
    return err_set(err, ERR_INTERNAL, os, "look at '%s'", path);
}

/* {"entry":{…}} for a path, or the error. */
static void answer_entry(const struct rpc_request *request, const char *path)
{
    static struct owners owners; /* all of these calls are made on the loop */
    struct buf out;
    struct err err;
    owners_refresh(&owners);
    buf_init(&out, ANSWER_MAX);
    buf_append_z(&out, "{\"entry\":");
    int r = entry_append(&out, &owners, AT_FDCWD, path, path, NULL);
    if (r == 0)
        r = buf_append_char(&out, '}');
    if (r == 0) {
        rpc_respond_text(request->exchange, buf_str(&out));
    } else {
        look_error(&err, -r, path);
        rpc_respond_error(request->exchange, request->head, &err);
    }
    buf_done(&out);
}

void rpc_filesystem_stat(struct agent *agent, const struct rpc_request *request, json_t *in)
{
    struct err err;
    _cleanup_free_ char *path = NULL;
    if (read_path(agent, request, in, "path", &path, &err) < 0)
        rpc_respond_error(request->exchange, request->head, &err);
    else
        answer_entry(request, path);
}

static int make_dir(const struct rpc_request *request, const char *path, struct err *err)
{
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode)
                   ? err_set(err, ERR_EXISTS, 0, "directory already exists: %s", path)
                   : err_set(err, ERR_INVALID, 0,
                             "path already exists but it is not a directory: %s", path);
    int r = tree_make_dirs(path, request->user->uid, request->user->gid, err);
    if (r < 0 && err->code != ERR_INVALID && err->code != ERR_NO_SPACE)
        err->code = ERR_INTERNAL;
    return r;
}

void rpc_filesystem_make_dir(struct agent *agent, const struct rpc_request *request, json_t *in)
{
    struct err err;
    _cleanup_free_ char *path = NULL;
    if (read_path(agent, request, in, "path", &path, &err) < 0 || make_dir(request, path, &err) < 0)
        rpc_respond_error(request->exchange, request->head, &err);
    else
        answer_entry(request, path);
}

static int move(const struct rpc_request *request, const char *from, const char *to,
                struct err *err)
{
    struct stat st;
    if (lstat(from, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? err_set(err, ERR_NOT_FOUND, 0, "source file not found: %s", from)
                   : err_set(err, ERR_INTERNAL, errno, "look at '%s'", from);
    int r = tree_make_parents(to, request->user->uid, request->user->gid, err);
    if (r < 0)
        return r;
    /* rename(2) would replace an empty directory by another one; this call never does (5.8). */
    if (lstat(to, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(err, ERR_INTERNAL, EEXIST, "rename '%s' to '%s'", from, to);
    if (rename(from, to) < 0)
        return err_set(err, errno == ENOSPC || errno == EDQUOT ? ERR_NO_SPACE : ERR_INTERNAL, errno,
                       "rename '%s' to '%s'", from, to);
    return 0;
}

void rpc_filesystem_move(struct agent *agent, const struct rpc_request *request, json_t *in)
{
    struct err err;
    _cleanup_free_ char *from = NULL, *to = NULL;
    if (read_path(agent, request, in, "source", &from, &err) < 0 ||
        read_path(agent, request, in, "destination", &to, &err) < 0 ||
        move(request, from, to, &err) < 0)
        rpc_respond_error(request->exchange, request->head, &err);
    else
        answer_entry(request, to);
}

/* ---- Remove ---- */

struct removing {
    struct job job;
    struct rpc_head head;
    char *path;
    int result;
    struct err err;
};

static struct removing *removing_of(struct job *job)
{
    return CONTAINER_OF(job, struct removing, job);
}

static void removing_free(struct job *job)
{
    struct removing *r = removing_of(job);
    free(r->path);
    free(r);
}

static void removing_run(struct job *job)
{
    struct removing *r = removing_of(job);
    r->result = tree_remove(r->path, &r->err);
}

static void removing_done(struct job *job)
{
    struct removing *r = removing_of(job);
    if (r->result < 0)
        rpc_respond_error(job->x, &r->head, &r->err);
    else
        rpc_respond(job->x, NULL);
}

void rpc_filesystem_remove(struct agent *agent, const struct rpc_request *request, json_t *in)
{
    static const struct job_ops ops = {
        .run = removing_run, .done = removing_done, .free = removing_free};
    struct err err;
    _cleanup_free_ char *path = NULL;
    if (read_path(agent, request, in, "path", &path, &err) < 0) {
        rpc_respond_error(request->exchange, request->head, &err);
        return;
    }
    struct removing *r = xcalloc(1, sizeof *r);
    r->head = *request->head;
    r->path = TAKE_PTR(path);
    job_attach(&r->job, request->exchange, &ops);
    if (tree_remove_is_quick(r->path)) {
        removing_run(&r->job);
        removing_done(&r->job);
    } else {
        job_start(&r->job);
    }
}
