/* SPDX-License-Identifier: Apache-2.0 */
/* filesystem.ListDir: small directories at once, large trees streamed piece by piece from a worker, so
 * that memory does not grow with them. Once the answer has begun, an error can only cut it. */
#include <errno.h>

#include "agent/handlers.h"
#include "agent/job.h"
#include "agent/resolve.h"
#include "agent/walk.h"
#include "base/mem.h"
#include "rpc/jsonx.h"

enum {
    INLINE_BUDGET = 256,   /* names and entries done on the loop */
    PIECE_BUDGET = 100000, /* in one go of the worker */
    PIECE = 128 * 1024,
    PIECE_MAX = 8 << 20, /* with an entry beyond it */
};

struct list {
    struct job job;
    struct rpc_head head;
    struct walk *walk;
    struct buf piece;
    bool started;
    int result; /* of walk_step */
    struct err err;
};

static struct list *list_of(struct job *job)
{
    return CONTAINER_OF(job, struct list, job);
}

static void list_free(struct job *job)
{
    struct list *list = list_of(job);
    walk_free(list->walk);
    buf_done(&list->piece);
    free(list);
}

static void list_run(struct job *job)
{
    struct list *list = list_of(job);
    /* A large directory's names take several rounds without a byte of output. */
    do
        list->result = walk_step(list->walk, &list->piece, PIECE_BUDGET, PIECE, &list->err);
    while (list->result > 0 && buf_len(&list->piece) < PIECE);
}

/* The piece in protobuf's encoding. Lists of messages that follow each other are one list there, so
 * each piece is made a message of its own. */
static int make_binary(struct list *list)
{
    struct buf text, binary;
    struct str piece = buf_str(&list->piece);
    buf_init(&text, SIZE_MAX / 4);
    buf_init(&binary, SIZE_MAX / 4);
    if (list->started)
        buf_append_z(&text, "{\"entries\":[");
    if (list->started && piece.len && piece.p[0] == ',')
        piece = (struct str){piece.p + 1, piece.len - 1};
    buf_append_str(&text, piece);
    if (list->result)
        buf_append_z(&text, "]}");
    int rc = rpc_encode_text(list->job.x, buf_str(&text), &binary);
    buf_clear(&list->piece);
    if (rc == 0)
        rc = buf_append_str(&list->piece, buf_str(&binary));
    buf_done(&text);
    buf_done(&binary);
    return rc;
}

static void list_send(struct list *list)
{
    struct http_exchange *x = list->job.x;
    if (list->result < 0) {
        if (list->started)
            http_exchange_abort(x);
        else
            rpc_respond_error(x, &list->head, &list->err);
        return;
    }
    if (list->result == 0)
        buf_append_z(&list->piece, "]}");
    if (list->head.codec == RPC_CODEC_PROTO && make_binary(list) < 0) {
        http_exchange_abort(x);
        return;
    }
    if (!list->started) {
        http_respond_header(x, "Content-Type", rpc_content_type(list->head.codec, false));
        http_respond_start(x, 200,
                           list->result ? HTTP_LENGTH_CHUNKED : (int64_t)buf_len(&list->piece));
        list->started = true;
    }
    http_respond_write(x, buf_ptr(&list->piece), buf_len(&list->piece));
    buf_clear(&list->piece);
    if (list->result == 0)
        http_respond_end(x);
}

static void list_done(struct job *job)
{
    struct list *list = list_of(job);
    list_send(list);
    if (list->result > 0 && http_respond_queued(job->x) == 0)
        job_start(job);
}

static void list_drained(struct job *job)
{
    if (list_of(job)->result > 0)
        job_start(job);
}

static int open_walk(struct agent *agent, const struct rpc_request *request, json_t *in,
                     struct walk **ret, struct err *err)
{
    struct str path = STR("");
    uint32_t depth = 0;
    _cleanup_free_ char *resolved = NULL;
    int r = jsonx_text(in, "path", &path, err);
    if (r >= 0)
        r = jsonx_u32(in, "depth", &depth, err);
    if (r >= 0)
        r = resolve_path(request->user, agent->config.default_workdir, path, &resolved, err);
    return r < 0 ? r : walk_open(resolved, depth ? depth : 1, ret, err);
}

void rpc_filesystem_list_dir(struct agent *agent, const struct rpc_request *request, json_t *in)
{
    static const struct job_ops ops = {list_run, list_done, list_drained, list_free};
    struct err err;
    struct walk *walk;
    if (open_walk(agent, request, in, &walk, &err) < 0) {
        rpc_respond_error(request->exchange, request->head, &err);
        return;
    }
    struct list *list = xcalloc(1, sizeof *list);
    list->head = *request->head;
    list->walk = walk;
    buf_init(&list->piece, PIECE_MAX);
    job_attach(&list->job, request->exchange, &ops);
    buf_append_z(&list->piece, "{\"entries\":[");
    size_t empty = buf_len(&list->piece);
    list->result = walk_step(walk, &list->piece, INLINE_BUDGET, PIECE, &list->err);
    if (list->result == 0 && buf_len(&list->piece) == empty) {
        rpc_respond(request->exchange, NULL); /* an empty list is left out */
        return;
    }
    if (list->result > 0)
        job_start(&list->job);
    else
        list_send(list);
}
