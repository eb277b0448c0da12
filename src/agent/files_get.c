/* SPDX-License-Identifier: Apache-2.0 */
/* GET /files: downloads (protocol.md 3.3). Files of a known size go by sendfile, small ones with the
 * head in one write. What cannot be trusted to say its size (/proc, /sys, gzip output) is read to its
 * end by a worker, one piece at a time, each after the socket has taken the one before. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <zlib.h>

#include "agent/etag.h"
#include "agent/file_query.h"
#include "agent/handlers.h"
#include "agent/job.h"
#include "agent/pseudo.h"
#include "agent/sha256.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "http/accept.h"
#include "http/conditional.h"
#include "http/content_type.h"
#include "http/range.h"

enum {
    SMALL_MAX = 16 * 1024, /* read and answered at once */
    GZIP_MIN = 1024,       /* below it compression saves nothing */
    PIECE = 64 * 1024,
    DIGEST_READ = 128 * 1024,
    DIGEST_READS = 256, /* in one go of the worker */
};

/* ---- pumping: content whose length is not known before ---- */

struct pump {
    struct job job;
    int fd;
    char *type; /* NULL: to be found out from the first piece */
    bool gzip;
    z_stream z;
    unsigned char *in; /* gzip only: what was read and not yet compressed */
    bool started, file_end, over;
    int error;
    size_t len;
    unsigned char piece[PIECE];
};

static struct pump *pump_of(struct job *job)
{
    return CONTAINER_OF(job, struct pump, job);
}

static void pump_free(struct job *job)
{
    struct pump *p = pump_of(job);
    if (p->gzip)
        deflateEnd(&p->z);
    close(p->fd);
    free(p->type);
    free(p->in);
    free(p);
}

/* Fills the piece from the file. EAGAIN is the end of what a pseudo-file has for now (/dev/kmsg's
 * kin): we never wait for more. */
static void read_piece(struct pump *p)
{
    ssize_t n = fd_read_all(p->fd, p->piece, PIECE);
    if (n < 0 && n != -EAGAIN)
        p->error = (int)n;
    p->len = n > 0 ? (size_t)n : 0;
    p->over = p->len < PIECE;
}

static void deflate_piece(struct pump *p)
{
    p->z.next_out = p->piece;
    p->z.avail_out = PIECE;
    while (p->z.avail_out && !p->over && p->error == 0) {
        if (p->z.avail_in == 0 && !p->file_end) {
            ssize_t n = fd_read_all(p->fd, p->in, PIECE);
            if (n < 0)
                p->error = (int)n;
            p->z.next_in = p->in;
            p->z.avail_in = n > 0 ? (unsigned)n : 0;
            p->file_end = n < PIECE;
        }
        p->over = deflate(&p->z, p->file_end ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_END;
    }
    p->len = PIECE - p->z.avail_out;
}

static void pump_run(struct job *job)
{
    struct pump *p = pump_of(job);
    if (p->gzip)
        deflate_piece(p);
    else
        read_piece(p);
}

static void pump_start_response(struct pump *p)
{
    struct http_exchange *x = p->job.x;
    struct str head = {(char *)p->piece, p->len < CONTENT_TYPE_SNIFF ? p->len : CONTENT_TYPE_SNIFF};
    http_respond_header(x, "Content-Type", p->type ? p->type : content_type_by_content(head));
    if (p->gzip)
        http_respond_header(x, "Content-Encoding", "gzip");
    http_respond_start(x, 200, p->over ? (int64_t)p->len : HTTP_LENGTH_CHUNKED);
    p->started = true;
}

static void pump_done(struct job *job)
{
    struct pump *p = pump_of(job);
    if (p->error && p->started) {
        http_exchange_abort(job->x);
        return;
    }
    if (p->error) {
        http_respond_error(job->x, 500, "read file: %s", strerror(-p->error));
        return;
    }
    if (!p->started)
        pump_start_response(p);
    http_respond_write(job->x, p->piece, p->len);
    if (p->over)
        http_respond_end(job->x);
    else if (http_respond_queued(job->x) == 0)
        job_start(job);
}

static void pump_drained(struct job *job)
{
    struct pump *p = pump_of(job);
    if (!p->over && !p->error)
        job_start(job);
}

static void pump_open(struct http_exchange *x, int fd, const char *type, bool gzip)
{
    static const struct job_ops ops = {pump_run, pump_done, pump_drained, pump_free};
    struct pump *p = xmalloc(sizeof *p); /* the piece need not be zeroed */
    memset(p, 0, offsetof(struct pump, piece));
    p->fd = fd;
    p->type = type ? xstrdup(type) : NULL;
    p->gzip = gzip;
    if (gzip) {
        p->in = xmalloc(PIECE);
        if (deflateInit2(&p->z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
            abort(); /* only memory can lack here */
    }
    job_attach(&p->job, x, &ops);
    job_start(&p->job);
}

/* ---- files with a size ---- */

/* Go's mime.FormatMediaType("inline", {"filename": name}), as clients have seen it so far. */
static void put_disposition(struct http_exchange *x, struct str name)
{
    struct buf value;
    bool token = name.len > 0, ascii = true;
    buf_init(&value, 4096);
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.p[i];
        ascii &= c >= 0x20 && c < 0x7f;
        token &= c > 0x20 && c < 0x7f && !strchr("()<>@,;:\\\"/[]?=", c);
    }
    buf_append_z(&value, !ascii ? "inline; filename*=utf-8''" : "inline; filename=");
    if (ascii && !token)
        buf_append_char(&value, '"');
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.p[i];
        bool plain = c > 0x20 && c < 0x7f && !strchr("()<>@,;:\\\"/[]?=*'%", c);
        if (!ascii && !plain)
            buf_printf(&value, "%%%02X", c);
        else if (ascii && (c == '"' || c == '\\'))
            buf_append(&value, (char[]){'\\', (char)c}, 2);
        else
            buf_append_char(&value, (char)c);
    }
    if (ascii && !token)
        buf_append_char(&value, '"');
    http_respond_header(x, "Content-Disposition", buf_cstr(&value));
    buf_done(&value);
}

static const char *find_type(int fd, struct str name)
{
    const char *type = content_type_by_name(name);
    if (type)
        return type;
    char head[CONTENT_TYPE_SNIFF];
    ssize_t n = pread(fd, head, sizeof head, 0);
    return content_type_by_content((struct str){head, n > 0 ? (size_t)n : 0});
}

static void send_part(struct http_exchange *x, int fd, int status, int64_t first, int64_t length)
{
    if (length > SMALL_MAX) {
        http_respond_start(x, status, length);
        http_respond_file(x, fd, first, length);
        http_respond_end(x);
        return;
    }
    char small[SMALL_MAX];
    ssize_t n = length ? pread(fd, small, (size_t)length, first) : 0;
    close(fd);
    if (n < 0)
        http_respond_error(x, 500, "read file: %s", strerror(errno));
    else
        http_respond(x, status, NULL, (struct str){small, (size_t)n});
}

static void send_file(struct http_exchange *x, int fd, const struct stat *st, struct str name,
                      enum http_coding coding)
{
    const struct http_headers *headers = &http_exchange_request(x)->headers;
    char etag[ETAG_SIZE], date[HTTP_DATE_SIZE];
    etag_format(st, etag);
    http_date_format(st->st_mtim.tv_sec, date);
    http_respond_header(x, "Last-Modified", date);
    http_respond_header(x, "ETag", etag);
    int status = http_conditional_status(headers, etag, st->st_mtim.tv_sec);
    if (status != 200) {
        close(fd);
        http_respond(x, status, NULL, STR(""));
        return;
    }
    int64_t first = 0, length = st->st_size;
    enum http_range range = HTTP_RANGE_ALL;
    if (http_conditional_range(headers, etag, st->st_mtim.tv_sec))
        range = http_range_parse(http_header_get(headers, "range"), st->st_size, &first, &length);
    const char *type = find_type(fd, name);
    if (range == HTTP_RANGE_BAD) {
        close(fd);
        http_respond_headerf(x, "Content-Range", "bytes */%lld", (long long)st->st_size);
        http_respond_error(x, 416, "range is outside of the file's %lld bytes",
                           (long long)st->st_size);
        return;
    }
    if (range == HTTP_RANGE_ALL && coding == HTTP_CODING_GZIP && st->st_size >= GZIP_MIN) {
        pump_open(x, fd, type, true);
        return;
    }
    http_respond_header(x, "Content-Type", type);
    if (range == HTTP_RANGE_PART)
        http_respond_headerf(x, "Content-Range", "bytes %lld-%lld/%lld", (long long)first,
                             (long long)(first + length - 1), (long long)st->st_size);
    send_part(x, fd, range == HTTP_RANGE_PART ? 206 : 200, first, length);
}

/* ---- with its digest ---- */

/* The file is read twice: the digest stands before it. Piece by piece, so that a client that goes
 * away ends it. */
struct digesting {
    struct job job;
    int fd; /* -1: handed on */
    struct stat st;
    char *name;
    struct sha256 *hash;
    int64_t at;
    int error; /* or 1: all is read */
    char piece[DIGEST_READ];
};

static struct digesting *digesting_of(struct job *job)
{
    return CONTAINER_OF(job, struct digesting, job);
}

static void digesting_free(struct job *job)
{
    struct digesting *d = digesting_of(job);
    fd_closep(&d->fd);
    sha256_free(d->hash);
    free(d->name);
    free(d);
}

static void digesting_run(struct job *job)
{
    struct digesting *d = digesting_of(job);
    for (int i = 0; i < DIGEST_READS && d->error == 0; i++) {
        ssize_t n = pread(d->fd, d->piece, sizeof d->piece, d->at);
        if (n < 0 && errno != EINTR)
            d->error = -errno;
        if (n > 0)
            sha256_add(d->hash, d->piece, (size_t)n);
        d->at += n > 0 ? n : 0;
        if (n == 0 || d->at > d->st.st_size)
            d->error = 1;
    }
}

static void digesting_done(struct job *job)
{
    struct digesting *d = digesting_of(job);
    struct stat now;
    if (d->error == 0) {
        job_start(job);
        return;
    }
    if (d->error < 0) {
        http_respond_error(job->x, 500, "read file: %s", strerror(-d->error));
        return;
    }
    unsigned char digest[SHA256_SIZE];
    char field[SHA256_FIELD_SIZE];
    sha256_finish(d->hash, digest);
    sha256_field(digest, field);
    if (fstat(d->fd, &now) < 0 || now.st_size != d->st.st_size || d->at != d->st.st_size ||
        now.st_mtim.tv_sec != d->st.st_mtim.tv_sec || now.st_mtim.tv_nsec != d->st.st_mtim.tv_nsec)
        http_respond_error(job->x, 409, "the file changed while its digest was made");
    else {
        http_respond_header(job->x, "Repr-Digest", field);
        send_file(job->x, TAKE_FD(d->fd), &d->st, str_from(d->name), HTTP_CODING_IDENTITY);
    }
}

static void send_file_with_digest(struct http_exchange *x, int fd, const struct stat *st,
                                  struct str name)
{
    static const struct job_ops ops = {
        .run = digesting_run, .done = digesting_done, .free = digesting_free};
    struct digesting *d = xmalloc(sizeof *d);
    memset(d, 0, offsetof(struct digesting, piece));
    d->fd = fd;
    d->st = *st;
    d->name = xstrndup(name.p, name.len);
    d->hash = sha256_new();
    job_attach(&d->job, x, &ops);
    job_start(&d->job);
}

/* ---- the request ---- */

/* Looks before it opens, so that no device or FIFO is ever opened, and again behind it. The
 * descriptor, or -1 and the answer has been given. */
static int open_regular(struct http_exchange *x, const char *path, enum http_coding coding,
                        struct stat *st)
{
    if (stat(path, st) < 0) {
        int os = errno;
        if (os == ENOENT)
            http_respond_error(x, 404, "path '%s' does not exist", path);
        else
            http_respond_error(x, 500, "error opening file '%s': %s", path, strerror(os));
        return -1;
    }
    if (S_ISDIR(st->st_mode)) {
        http_respond_error(x, 400, "path '%s' is a directory", path);
        return -1;
    }
    if (S_ISREG(st->st_mode) && coding == HTTP_CODING_NONE) {
        http_respond_error(x, 406, "no acceptable encoding: identity and gzip are both excluded");
        return -1;
    }
    int fd = -1;
    if (S_ISREG(st->st_mode)) {
        fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, st) < 0) {
            http_respond_error(x, 500, "error opening file '%s': %s", path, strerror(errno));
            fd_closep(&fd);
            return -1;
        }
    }
    if (!S_ISREG(st->st_mode)) {
        http_respond_error(x, 400, "path '%s' is not a regular file", path);
        fd_closep(&fd);
    }
    return fd;
}

void handle_files_get(struct agent *agent, struct http_exchange *x)
{
    const struct http_request *request = http_exchange_request(x);
    struct file_query query;
    struct err err = {0};
    int status = file_query_read(agent, request, &query, &err);
    if (status) {
        http_respond_error(x, status, "%s", err.message);
        return;
    }
    struct stat st;
    enum http_coding coding = http_accept_coding(&request->headers);
    if (!query.path) {
        http_respond_error(x, 400, "query parameter 'path' is required");
    } else {
        int fd = open_regular(x, query.path, coding, &st);
        if (fd >= 0) {
            struct str name = path_base(str_from(query.path));
            char byte;
            put_disposition(x, name);
            http_respond_header(x, "Vary", "Accept-Encoding");
            if (pseudo_file_system(fd) || (st.st_size == 0 && pread(fd, &byte, 1, 0) > 0)) {
                pump_open(x, fd, content_type_by_name(name), false);
            } else {
                struct str want = http_header_get(&request->headers, "want-repr-digest");
                http_respond_header(x, "Accept-Ranges", "bytes");
                if (want.p && sha256_wanted(want))
                    send_file_with_digest(x, fd, &st, name);
                else
                    send_file(x, fd, &st, name, coding);
            }
        }
    }
    file_query_done(&query);
}
