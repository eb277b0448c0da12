/* SPDX-License-Identifier: Apache-2.0 */
/* POST /files: uploads (protocol.md 3.4). */
#include <errno.h>

#include "agent/body_work.h"
#include "agent/disk_space.h"
#include "agent/handlers.h"
#include "agent/upload_batch.h"
#include "base/mem.h"

enum {
    INLINE_COST = 128 * 1024, /* work done on the loop before a worker takes over */
    INLINE_GZIP = 4 * 1024,   /* compressed bytes, which may become a thousand times more */
};

struct post {
    struct body_work work;
    struct file_query query;
    struct upload_batch *batch;
    size_t fed;
};

static struct post *post_of(const struct body_work *work)
{
    return CONTAINER_OF(work, struct post, work);
}

static void post_free(struct body_work *work)
{
    struct post *p = post_of(work);
    upload_batch_free(p->batch);
    file_query_done(&p->query);
    free(p);
}

static int post_feed(struct body_work *work, struct str bytes, struct err *err)
{
    struct post *p = post_of(work);
    p->fed += bytes.len;
    return upload_batch_feed(p->batch, bytes.p, bytes.len, err);
}

static int post_finish(struct body_work *work, struct err *err)
{
    return upload_batch_finish(post_of(work)->batch, err);
}

static bool post_is_quick(const struct body_work *work, size_t n)
{
    const struct post *p = post_of(work);
    if (upload_batch_cost(p->batch) + n > INLINE_COST)
        return false;
    return !upload_batch_is_gzip(p->batch) || p->fed + n <= INLINE_GZIP;
}

static void post_answer(struct body_work *work)
{
    const struct post *p = post_of(work);
    struct http_exchange *x = work->job.x;
    char etag[ETAG_SIZE], digest[SHA256_FIELD_SIZE];
    if (upload_batch_tag(p->batch, etag, digest)) {
        http_respond_header(x, "ETag", etag);
        if (digest[0])
            http_respond_header(x, "Repr-Digest", digest);
    }
    http_respond(x, 200, "application/json; charset=utf-8", upload_batch_answer(p->batch));
}

void handle_files_post(struct agent *agent, struct http_exchange *x)
{
    static const struct body_work_ops ops = {post_feed, post_finish, post_is_quick, post_answer,
                                             post_free};
    const struct http_request *request = http_exchange_request(x);
    struct post *p = xcalloc(1, sizeof *p);
    struct err err = {0};
    int status = file_query_read(agent, request, &p->query, &err);
    if (status == 0 && disk_space_lacks(p->query.path, request->content_length, &err))
        status = 507;
    if (status == 0)
        status = upload_batch_open(request, &p->query, &p->batch, &err);
    if (status) {
        post_free(&p->work);
        http_respond_error(x, status, "%s", err.message);
        return;
    }
    body_work_start(&p->work, x, &ops);
}
