/* SPDX-License-Identifier: Apache-2.0 */
/* GET /files/tar: a directory as a tar stream (docs/wire.md). A worker reads the next piece while the
 * socket takes the one before. */
#include <zlib.h>

#include "agent/file_query.h"
#include "agent/handlers.h"
#include "agent/job.h"
#include "agent/tar_source.h"
#include "base/mem.h"
#include "base/path.h"
#include "http/accept.h"

enum {
    PIECE = 256 * 1024,
    PIECE_MAX = 1 << 20, /* with a head and a read beyond it, or what compression adds */
    DEFLATE_ROOM = 64 * 1024,
};

struct tar_get {
    struct job job;
    struct tar_source *source;
    struct buf raw; /* read, not compressed */
    struct buf piece;
    bool gzip;
    z_stream z;
    int result; /* of tar_source_fill */
    struct err err;
};

static struct tar_get *get_of(struct job *job)
{
    return CONTAINER_OF(job, struct tar_get, job);
}

static void get_free(struct job *job)
{
    struct tar_get *g = get_of(job);
    if (g->gzip)
        deflateEnd(&g->z);
    tar_source_free(g->source);
    buf_done(&g->raw);
    buf_done(&g->piece);
    free(g);
}

static void deflate_piece(struct tar_get *g)
{
    int r;
    g->z.next_in = (unsigned char *)g->raw.data + g->raw.begin;
    g->z.avail_in = (unsigned)buf_len(&g->raw);
    do {
        char *room = buf_reserve(&g->piece, DEFLATE_ROOM);
        if (!room) {
            g->result = err_set(&g->err, ERR_INTERNAL, 0, "a piece is too long");
            return;
        }
        g->z.next_out = (unsigned char *)room;
        g->z.avail_out = DEFLATE_ROOM;
        r = deflate(&g->z, g->result ? Z_NO_FLUSH : Z_FINISH);
        buf_added(&g->piece, DEFLATE_ROOM - g->z.avail_out);
    } while (r == Z_OK && (g->z.avail_out == 0 || g->result == 0));
    buf_clear(&g->raw);
}

static void get_run(struct job *job)
{
    struct tar_get *g = get_of(job);
    g->result = tar_source_fill(g->source, g->gzip ? &g->raw : &g->piece, PIECE, &g->err);
    if (g->gzip && g->result >= 0)
        deflate_piece(g);
}

/* Once what was read is written, the worker may overwrite it: http_respond_write keeps what the socket
 * does not take. */
static void get_done(struct job *job)
{
    struct tar_get *g = get_of(job);
    if (g->result < 0) {
        http_exchange_abort(job->x); /* the only honest end of what has begun */
        return;
    }
    if (buf_len(&g->piece))
        http_respond_write(job->x, buf_ptr(&g->piece), buf_len(&g->piece));
    buf_clear(&g->piece);
    if (g->result == 0)
        http_respond_end(job->x);
    else if (http_respond_queued(job->x) <= PIECE)
        job_start(job);
}

static void get_drained(struct job *job)
{
    struct tar_get *g = get_of(job);
    if (g->result > 0)
        job_start(job);
}

static void start(struct http_exchange *x, struct tar_source *source, bool gzip)
{
    static const struct job_ops ops = {get_run, get_done, get_drained, get_free};
    struct tar_get *g = xcalloc(1, sizeof *g);
    g->source = source;
    g->gzip = gzip;
    buf_init(&g->raw, PIECE_MAX);
    buf_init(&g->piece, PIECE_MAX);
    if (gzip && deflateInit2(&g->z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* only memory can lack here */
    job_attach(&g->job, x, &ops);
    http_respond_header(x, "Content-Type", "application/x-tar");
    http_respond_header(x, "Vary", "Accept-Encoding");
    if (gzip)
        http_respond_header(x, "Content-Encoding", "gzip");
    http_respond_start(x, 200, HTTP_LENGTH_CHUNKED);
    job_start(&g->job);
}

void handle_tar_get(struct agent *agent, struct http_exchange *x)
{
    const struct http_request *request = http_exchange_request(x);
    enum http_coding coding = http_accept_coding(&request->headers);
    struct file_query query;
    struct tar_source *source;
    struct err err = {0};
    int status = file_query_read(agent, request, &query, &err);
    if (status) {
        http_respond_error(x, status, "%s", err.message);
        return;
    }
    if (!query.path)
        http_respond_error(x, 400, "query parameter 'path' is required");
    else if (coding == HTTP_CODING_NONE)
        http_respond_error(x, 406, "no acceptable encoding: identity and gzip are both excluded");
    else if (tar_source_open(query.path, &source, &err) < 0)
        http_respond_error(x,
                           err.code == ERR_NOT_FOUND  ? 404
                           : err.code == ERR_INTERNAL ? 500
                                                      : 400,
                           "%s", err.message);
    else
        start(x, source, coding == HTTP_CODING_GZIP);
    file_query_done(&query);
}
