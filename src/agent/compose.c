/* SPDX-License-Identifier: Apache-2.0 */
/* POST /files/compose: several files become one, in order, and are removed (protocol.md 3.7). The
 * destination is replaced atomically, also when it is one of the sources. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "agent/file_query.h"
#include "agent/handlers.h"
#include "agent/job.h"
#include "agent/resolve.h"
#include "agent/upload.h"
#include "base/fd.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "base/path.h"

enum { BODY_MAX = 4 << 20, SOURCES_MAX = 65536 };

struct compose {
    struct job job;
    struct agent *agent;
    struct passwd_user user;
    char **sources;
    size_t count;
    char *destination;
    int status; /* HTTP */
    struct err err;
};

static struct compose *compose_of(struct job *job)
{
    return CONTAINER_OF(job, struct compose, job);
}

static void compose_free(struct job *job)
{
    struct compose *c = compose_of(job);
    for (size_t i = 0; i < c->count; i++)
        free(c->sources[i]);
    free(c->sources);
    free(c->destination);
    passwd_user_done(&c->user);
    free(c);
}

static int fail(struct compose *c, int status, const char *what, const char *path)
{
    err_set(&c->err, ERR_INVALID, 0, "%s: %s", what, path);
    c->status = status;
    return -EINVAL;
}

/* An open regular file; nothing else is ever opened. */
static int open_source(struct compose *c, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return fail(c, errno == ENOENT ? 404 : 500, strerror(errno), path);
    if (!S_ISREG(st.st_mode))
        return fail(c, 400, "source is not a regular file", path);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        fd_closep(&fd);
        return fail(c, 500, "cannot open source", path);
    }
    return fd;
}

static int append_sources(struct compose *c, struct upload *u)
{
    for (size_t i = 0; i < c->count; i++) {
        _cleanup_close_ int fd = open_source(c, c->sources[i]);
        if (fd < 0)
            return fd;
        int r = upload_write_file(u, fd, &c->err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* By what they are and not by how they are spelled. */
static bool is_same_file(const char *a, const char *b)
{
    struct stat sa, sb;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_ino == sb.st_ino &&
           sa.st_dev == sb.st_dev;
}

static void compose_run(struct job *job)
{
    struct compose *c = compose_of(job);
    struct upload_terms terms = {.uid = c->user.uid, .gid = c->user.gid, .mode = -1};
    struct upload *u = NULL;
    int r = upload_open(c->destination, &terms, &u, &c->err);
    if (r == 0)
        r = append_sources(c, u);
    if (r == 0)
        r = upload_commit(u, &c->err);
    for (size_t i = 0; r == 0 && i < c->count; i++)
        if (!is_same_file(c->sources[i], c->destination))
            unlink(c->sources[i]);
    upload_free(u);
    if (r < 0 && !c->status)
        c->status = c->err.code == ERR_INVALID ? 400 : c->err.code == ERR_NO_SPACE ? 507 : 500;
}

static void compose_done(struct job *job)
{
    struct compose *c = compose_of(job);
    if (c->status) {
        http_respond_error(job->x, c->status, "%s", c->err.message);
        return;
    }
    struct buf out;
    struct str path = str_from(c->destination);
    buf_init(&out, 1 << 20);
    buf_append_z(&out, "{\"name\":");
    json_text_append(&out, path_base(path));
    buf_append_z(&out, ",\"type\":\"file\",\"path\":");
    json_text_append(&out, path);
    buf_append_char(&out, '}');
    http_respond(job->x, 200, "application/json; charset=utf-8", buf_str(&out));
    buf_done(&out);
}

static int read_one(struct compose *c, const json_t *value, char **ret)
{
    if (!json_is_string(value) || json_string_length(value) == 0)
        return fail(c, 400, "malformed request", "paths must be texts and not empty");
    struct str text = {json_string_value(value), json_string_length(value)};
    int r = resolve_path(&c->user, c->agent->config.default_workdir, text, ret, &c->err);
    if (r < 0)
        c->status = 400;
    return r;
}

static int read_request(struct compose *c, const json_t *in)
{
    const json_t *sources = json_object_get(in, "source_paths"), *item;
    const char *username = json_string_value(json_object_get(in, "username"));
    c->status = file_query_user(c->agent, str_from(username), &c->user, &c->err);
    if (c->status)
        return -EACCES;
    size_t i, count = json_array_size(sources);
    if (count == 0 || count > SOURCES_MAX)
        return fail(c, 400, "malformed request", "source_paths must name at least one file");
    c->sources = xcalloc(count, sizeof *c->sources);
    json_array_foreach (sources, i, item) {
        int r = read_one(c, item, &c->sources[i]);
        if (r < 0)
            return r;
        c->count++;
    }
    return read_one(c, json_object_get(in, "destination"), &c->destination);
}

static void compose_body(struct http_exchange *x, int status, struct str body, void *arg)
{
    static const struct job_ops ops = {
        .run = compose_run, .done = compose_done, .free = compose_free};
    if (status < 0) {
        http_respond_error(x, 400, "the request body is %s",
                           status == -EMSGSIZE ? "too large" : "cut or malformed");
        return;
    }
    struct compose *c = xcalloc(1, sizeof *c);
    json_t *in = json_loadb(body.p, body.len, 0, NULL);
    c->agent = arg;
    if (!json_is_object(in))
        fail(c, 400, "malformed request", "the body must be a JSON object");
    else
        read_request(c, in);
    json_decref(in);
    job_attach(&c->job, x, &ops);
    if (c->status)
        compose_done(&c->job);
    else
        job_start(&c->job);
}

void handle_compose_post(struct agent *agent, struct http_exchange *x)
{
    http_body_collect(x, BODY_MAX, compose_body, agent);
}
