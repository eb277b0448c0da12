/* SPDX-License-Identifier: Apache-2.0 */
/* POST /files/tar: a directory from a tar stream (docs/wire.md). */
#include <errno.h>
#include <jansson.h>

#include "agent/body_work.h"
#include "agent/disk_space.h"
#include "agent/handlers.h"
#include "base/tar.h"
#include "agent/tar_tree.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "http/inflate.h"

struct tar_post {
    struct body_work work;
    struct file_query query;
    struct upload_terms terms;
    struct inflate *inflate; /* NULL: identity */
    struct tar_reader *reader;
    struct tar_tree *tree;
    struct err *err; /* of the call under way */
    uv_work_t removal;
};

static struct tar_post *post_of(const struct body_work *work)
{
    return CONTAINER_OF(work, struct tar_post, work);
}

static void remove_run(uv_work_t *removal)
{
    tar_tree_free(CONTAINER_OF(removal, struct tar_post, removal)->tree);
}

static void remove_done(uv_work_t *removal, int status)
{
    struct tar_post *p = CONTAINER_OF(removal, struct tar_post, removal);
    upload_terms_done(&p->terms);
    file_query_done(&p->query);
    free(p);
}

/* What was made of a tree that is not to be may be large: it goes in a worker, too. */
static void post_free(struct body_work *work)
{
    struct tar_post *p = post_of(work);
    inflate_free(p->inflate);
    tar_reader_free(p->reader);
    uv_queue_work(work->job.loop, &p->removal, remove_run, remove_done);
}

static int status_of(const struct err *err)
{
    switch ((int)err->code) {
    case ERR_INVALID:
        return 400;
    case ERR_CONFLICT:
        return 409;
    case ERR_PRECONDITION:
        return 412;
    case ERR_NO_SPACE:
        return 507;
    default:
        return 500;
    }
}

/* ---- the reader's and gzip's callbacks ---- */

static int on_entry(const struct tar_entry *entry, void *arg)
{
    struct tar_post *p = arg;
    return tar_tree_begin(p->tree, entry, p->err);
}

static int on_data(const char *bytes, size_t n, void *arg)
{
    struct tar_post *p = arg;
    return tar_tree_write(p->tree, bytes, n, p->err);
}

static int on_entry_end(void *arg)
{
    struct tar_post *p = arg;
    return tar_tree_end(p->tree, p->err);
}

static int on_body(const char *bytes, size_t n, void *arg)
{
    struct tar_post *p = arg;
    return tar_reader_feed(p->reader, bytes, n, p->err);
}

/* Nothing is left when a failure is answered. */
static int fail(struct tar_post *p, const struct err *err)
{
    tar_tree_free(p->tree);
    p->tree = NULL;
    return status_of(err);
}

static int post_feed(struct body_work *work, struct str bytes, struct err *err)
{
    struct tar_post *p = post_of(work);
    p->err = err;
    int r = p->inflate ? inflate_feed(p->inflate, bytes.p, bytes.len, err)
                       : on_body(bytes.p, bytes.len, p);
    return r < 0 ? fail(p, err) : 0;
}

static int post_finish(struct body_work *work, struct err *err)
{
    struct tar_post *p = post_of(work);
    p->err = err;
    int r = p->inflate ? inflate_finish(p->inflate, err) : 0;
    r = r ? r : tar_reader_finish(p->reader, err);
    r = r ? r : tar_tree_commit(p->tree, err);
    return r < 0 ? fail(p, err) : 0;
}

static bool post_is_quick(const struct body_work *work, size_t n)
{
    return false;
}

static void post_answer(struct body_work *work)
{
    const struct tar_post *p = post_of(work);
    struct buf out;
    buf_init(&out, 1 << 20);
    buf_append_z(&out, "{\"path\":");
    json_text_append(&out, str_from(p->query.path));
    buf_printf(&out, ",\"entries\":%llu,\"bytes\":%llu}",
               (unsigned long long)tar_tree_entries(p->tree),
               (unsigned long long)tar_tree_bytes(p->tree));
    http_respond(work->job.x, 200, "application/json; charset=utf-8", buf_str(&out));
    buf_done(&out);
}

/* ---- the request ---- */

static int read_head(const struct http_request *request, bool *ret_gzip, struct err *err)
{
    struct str coding = http_header_get(&request->headers, "content-encoding");
    struct str type = http_header_get(&request->headers, "content-type"), kind;
    coding = coding.p ? str_trim(coding) : STR("identity");
    *ret_gzip = str_ieqz(coding, "gzip") || str_ieqz(coding, "x-gzip");
    if (!*ret_gzip && coding.len && !str_ieqz(coding, "identity")) {
        err_set(err, ERR_INVALID, 0, "unsupported Content-Encoding '%.*s'",
                coding.len > 32 ? 32 : (int)coding.len, coding.p);
        return 400;
    }
    if (!type.p || !str_split(&type, ';', &kind) ||
        !str_ieqz(str_trim(kind), "application/x-tar")) {
        err_set(err, ERR_INVALID, 0, "Content-Type must be application/x-tar");
        return 400;
    }
    return 0;
}

static int read_preserve(const struct http_request *request, const struct passwd_user *user,
                         bool *ret, struct err *err)
{
    struct buf value;
    bool bad = false;
    int status = 0;
    buf_init(&value, 256);
    bool given = http_query_get(request->query, "preserve", &value, &bad);
    *ret = given && str_eqz(buf_str(&value), "true");
    if (bad || (given && !*ret && !str_eqz(buf_str(&value), "false"))) {
        err_set(err, ERR_INVALID, 0, "preserve must be true or false");
        status = 400;
    } else if (*ret && user->uid != 0) {
        err_set(err, ERR_DENIED, 0, "only root preserves owners: ask with username=root");
        status = 403;
    }
    buf_done(&value);
    return status;
}

static int check_terms(const struct upload_terms *t, struct err *err)
{
    if (t->mode < 0 && !t->if_match && !t->digest_given && !t->digest_wanted &&
        !t->metadata.count && (!t->if_none_match || strcmp(t->if_none_match, "*") == 0))
        return 0;
    err_set(err, ERR_INVALID, 0,
            "of an upload's terms only owner, fsync and If-None-Match: * mean anything here");
    return 400;
}

static int open_post(struct agent *agent, const struct http_request *request, struct tar_post *p,
                     struct err *err)
{
    static const struct tar_events events = {on_entry, on_data, on_entry_end};
    bool gzip = false, preserve = false;
    int status = file_query_read(agent, request, &p->query, err);
    if (status == 0 && !p->query.path) {
        err_set(err, ERR_INVALID, 0, "query parameter 'path' is required");
        status = 400;
    }
    status = status ? status : read_head(request, &gzip, err);
    status = status ? status : read_preserve(request, &p->query.user, &preserve, err);
    status = status ? status : upload_terms_read(request, &p->query, &p->terms, err);
    status = status ? status : check_terms(&p->terms, err);
    if (status == 0 && disk_space_lacks(p->query.path, request->content_length, err))
        status = 507;
    if (status == 0 && tar_tree_open(p->query.path, &p->terms, preserve, &p->tree, err) < 0)
        status = status_of(err);
    if (status == 0 && gzip)
        p->inflate = inflate_new(on_body, p);
    if (status == 0)
        p->reader = tar_reader_new(&events, p);
    return status;
}

void handle_tar_post(struct agent *agent, struct http_exchange *x)
{
    static const struct body_work_ops ops = {post_feed, post_finish, post_is_quick, post_answer,
                                             post_free};
    struct tar_post *p = xcalloc(1, sizeof *p);
    struct err err = {0};
    p->terms.mode = -1;
    int status = open_post(agent, http_exchange_request(x), p, &err);
    if (status) {
        remove_done(&p->removal, 0);
        http_respond_error(x, status, "%s", err.message);
        return;
    }
    body_work_start(&p->work, x, &ops);
}
