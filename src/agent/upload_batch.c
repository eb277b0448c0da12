/* SPDX-License-Identifier: Apache-2.0 */
/* The body of an upload request, turned into files. */
#include "agent/upload_batch.h"

#include <errno.h>

#include "agent/resolve.h"
#include "agent/upload.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/random.h"
#include "http/inflate.h"
#include "http/multipart.h"

enum {
    FILE_COST = 4096, /* opening and placing one, next to writing bytes */
    ANSWER_MAX = 64 << 20,
};

/* Hashes of the targets so far; 0 is a free slot. */
struct seen {
    uint64_t *slots;
    size_t size, count;
    uint64_t seed;
};

struct upload_batch {
    const struct file_query *query;
    struct upload_terms terms;
    struct inflate *inflate;     /* NULL: identity */
    struct multipart *multipart; /* NULL: the body is the file */
    struct upload *current;      /* being written, NULL between and in parts that are no file */
    struct upload *pending[UPLOAD_BATCH_PENDING]; /* complete, a ring */
    size_t pending_first, pending_count;
    size_t files;
    struct seen seen;
    struct buf answer;
    char etag[ETAG_SIZE]; /* of the last one put in place */
    bool has_digest;
    unsigned char digest[SHA256_SIZE];
    size_t cost;
    int status; /* of the failure, 0 while all is well */
    struct err err;
};

/* Notes the failure; the negative value stops the chain. */
static int fail(struct upload_batch *b, int status)
{
    b->status = status;
    return -ECANCELED;
}

static int status_of(const struct err *err)
{
    return err->code == ERR_INVALID        ? 400
           : err->code == ERR_PRECONDITION ? 412
           : err->code == ERR_NO_SPACE     ? 507
                                           : 500;
}

/* ---- duplicate targets ---- */

static uint64_t hash(const struct seen *s, const char *path)
{
    uint64_t h = s->seed ^ UINT64_C(0xcbf29ce484222325);
    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * UINT64_C(0x100000001b3);
    h ^= h >> 32;
    return h ? h : 1;
}

static bool insert(struct seen *s, uint64_t h)
{
    size_t i = h & (s->size - 1);
    for (; s->slots[i]; i = (i + 1) & (s->size - 1))
        if (s->slots[i] == h)
            return false;
    s->slots[i] = h;
    return true;
}

/* False if the path has been there before. Only hashes are kept: 64 random-seeded bits. */
static bool seen_add(struct seen *s, const char *path)
{
    if (s->count * 2 >= s->size) {
        struct seen grown = {
            .size = s->size ? s->size * 2 : 64, .count = s->count, .seed = s->seed};
        if (!s->size)
            random_bytes(&grown.seed, sizeof grown.seed);
        grown.slots = xcalloc(grown.size, sizeof *grown.slots);
        for (size_t i = 0; i < s->size; i++)
            if (s->slots[i])
                insert(&grown, s->slots[i]);
        free(s->slots);
        *s = grown;
    }
    s->count++;
    return insert(s, hash(s, path));
}

/* ---- files ---- */

static int begin_file(struct upload_batch *b, const char *path)
{
    if (!seen_add(&b->seen, path)) {
        err_set(&b->err, ERR_INVALID, 0, "more than one file for the path '%s'", path);
        return fail(b, 400);
    }
    if (++b->files > UPLOAD_BATCH_FILES) {
        err_set(&b->err, ERR_INVALID, 0, "more than %d files in one request", UPLOAD_BATCH_FILES);
        return fail(b, 400);
    }
    b->cost += FILE_COST;
    if (b->files > 1 && b->terms.digest_given) {
        err_set(&b->err, ERR_INVALID, 0, "one Repr-Digest, but more than one file");
        return fail(b, 400);
    }
    if (upload_open(path, &b->terms, &b->current, &b->err) < 0)
        return fail(b, status_of(&b->err));
    return 0;
}

static int commit_oldest(struct upload_batch *b)
{
    struct upload *u = b->pending[b->pending_first];
    b->pending_first = (b->pending_first + 1) % UPLOAD_BATCH_PENDING;
    b->pending_count--;
    int r = upload_commit(u, &b->err);
    const unsigned char *digest = upload_digest(u);
    upload_etag(u, b->etag);
    b->has_digest = digest != NULL;
    if (digest)
        memcpy(b->digest, digest, SHA256_SIZE);
    upload_free(u);
    return r < 0 ? fail(b, status_of(&b->err)) : 0;
}

/* [{"path":"/a/b","name":"b","type":"file","metadata":{…}}, …] */
static int append_answer(struct upload_batch *b, const char *path)
{
    struct buf *out = &b->answer;
    int r = buf_append_z(out, buf_len(out) > 1 ? ",{\"path\":" : "{\"path\":");
    r = r ? r : json_text_append(out, str_from(path));
    r = r ? r : buf_append_z(out, ",\"name\":");
    r = r ? r : json_text_append(out, path_base(str_from(path)));
    r = r ? r : buf_append_z(out, ",\"type\":\"file\"");
    r = r ? r : metadata_append(out, &b->terms.metadata);
    return r ? r : buf_append_char(out, '}');
}

static int end_file(struct upload_batch *b)
{
    struct upload *u = TAKE_PTR(b->current);
    if (append_answer(b, upload_path(u)) < 0) {
        upload_free(u);
        err_set(&b->err, ERR_INVALID, 0, "the answer to this request would be too large");
        return fail(b, 400);
    }
    if (b->pending_count == UPLOAD_BATCH_PENDING) {
        int r = commit_oldest(b);
        if (r < 0) {
            upload_free(u);
            return r;
        }
    }
    b->pending[(b->pending_first + b->pending_count++) % UPLOAD_BATCH_PENDING] = u;
    return 0;
}

static int write_file(struct upload_batch *b, const char *p, size_t n)
{
    b->cost += n;
    if (upload_write(b->current, p, n, &b->err) < 0)
        return fail(b, status_of(&b->err));
    return 0;
}

/* ---- multipart's and gzip's callbacks ---- */

static int on_part(struct str name, struct str filename, struct str content_type, void *arg)
{
    struct upload_batch *b = arg;
    b->cost += FILE_COST / 8;
    if (!str_eqz(name, "file"))
        return 0;
    if (b->query->path)
        return begin_file(b, b->query->path);
    if (filename.len == 0) {
        err_set(&b->err, ERR_INVALID, 0, "a file without a name, and no query parameter 'path'");
        return fail(b, 400);
    }
    _cleanup_free_ char *path = NULL;
    if (resolve_path(&b->query->user, b->query->workdir, filename, &path, &b->err) < 0)
        return fail(b, 400);
    return begin_file(b, path);
}

static int on_data(const char *p, size_t n, void *arg)
{
    struct upload_batch *b = arg;
    return b->current ? write_file(b, p, n) : 0;
}

static int on_part_end(void *arg)
{
    struct upload_batch *b = arg;
    return b->current ? end_file(b) : 0;
}

static const struct multipart_events part_events = {on_part, on_data, on_part_end};

/* Bytes of the body proper. */
static int on_body(const char *p, size_t n, void *arg)
{
    struct upload_batch *b = arg;
    if (!b->multipart)
        return write_file(b, p, n);
    int r = multipart_feed(b->multipart, p, n, &b->err);
    if (r < 0 && !b->status)
        fail(b, 500); /* not 400: what this wire says for a malformed form */
    return r;
}

/* ---- the request ---- */

static int read_coding(const struct http_request *request, bool *ret_gzip, struct err *err)
{
    struct str coding = http_header_get(&request->headers, "content-encoding");
    coding = coding.p ? str_trim(coding) : STR("identity");
    *ret_gzip = str_ieqz(coding, "gzip") || str_ieqz(coding, "x-gzip");
    if (*ret_gzip || coding.len == 0 || str_ieqz(coding, "identity"))
        return 0;
    err_set(err, ERR_INVALID, 0, "unsupported Content-Encoding '%.*s'",
            coding.len > 32 ? 32 : (int)coding.len, coding.p);
    return 400;
}

static int open_content(struct upload_batch *b, const struct http_request *request, struct err *err)
{
    struct str type = http_header_get(&request->headers, "content-type"), rest = type, kind;
    if (!type.p || !str_split(&rest, ';', &kind)) {
        err_set(err, ERR_INVALID, 0, "a Content-Type is required");
        return 400;
    }
    kind = str_trim(kind);
    if (str_ieqz(kind, "multipart/form-data"))
        return multipart_open(type, &part_events, b, &b->multipart, err) < 0 ? 400 : 0;
    if (!str_ieqz(kind, "application/octet-stream")) {
        err_set(err, ERR_INVALID, 0,
                "Content-Type must be multipart/form-data or application/octet-stream, not '%.*s'",
                kind.len > 60 ? 60 : (int)kind.len, kind.p);
        return 400;
    }
    if (!b->query->path) {
        err_set(err, ERR_INVALID, 0, "query parameter 'path' is required with this Content-Type");
        return 400;
    }
    int r = begin_file(b, b->query->path);
    *err = b->err;
    return r < 0 ? b->status : 0;
}

int upload_batch_open(const struct http_request *request, const struct file_query *query,
                      struct upload_batch **ret, struct err *err)
{
    bool gzip;
    int status = read_coding(request, &gzip, err);
    if (status)
        return status;
    struct upload_batch *b = xcalloc(1, sizeof *b);
    b->query = query;
    buf_init(&b->answer, ANSWER_MAX);
    buf_append_char(&b->answer, '[');
    status = upload_terms_read(request, query, &b->terms, err);
    if (status == 0)
        status = open_content(b, request, err);
    if (status) {
        upload_batch_free(b);
        return status;
    }
    if (gzip)
        b->inflate = inflate_new(on_body, b);
    *ret = b;
    return 0;
}

int upload_batch_feed(struct upload_batch *b, const char *p, size_t n, struct err *err)
{
    if (b->status == 0) {
        int r = b->inflate ? inflate_feed(b->inflate, p, n, &b->err) : on_body(p, n, b);
        if (r < 0 && b->status == 0)
            fail(b, 400); /* not gzip */
    }
    if (b->status)
        *err = b->err;
    return b->status;
}

int upload_batch_finish(struct upload_batch *b, struct err *err)
{
    if (b->status == 0 && b->inflate && inflate_finish(b->inflate, &b->err) < 0)
        fail(b, 400);
    if (b->status == 0 && b->multipart && multipart_finish(b->multipart, &b->err) < 0)
        fail(b, 500);
    if (b->status == 0 && b->current)
        end_file(b);
    while (b->status == 0 && b->pending_count)
        commit_oldest(b);
    if (b->status == 0)
        buf_append_char(&b->answer, ']');
    else
        *err = b->err;
    return b->status;
}

struct str upload_batch_answer(const struct upload_batch *b)
{
    return buf_str(&b->answer);
}

bool upload_batch_tag(const struct upload_batch *b, char etag[ETAG_SIZE],
                      char digest[SHA256_FIELD_SIZE])
{
    if (b->files != 1)
        return false;
    memcpy(etag, b->etag, ETAG_SIZE);
    digest[0] = '\0';
    if (b->has_digest)
        sha256_field(b->digest, digest);
    return true;
}

size_t upload_batch_cost(const struct upload_batch *b)
{
    return b->cost;
}

bool upload_batch_is_gzip(const struct upload_batch *b)
{
    return b->inflate != NULL;
}

void upload_batch_free(struct upload_batch *b)
{
    if (!b)
        return;
    upload_free(b->current);
    for (size_t i = 0; i < b->pending_count; i++)
        upload_free(b->pending[(b->pending_first + i) % UPLOAD_BATCH_PENDING]);
    inflate_free(b->inflate);
    multipart_free(b->multipart);
    upload_terms_done(&b->terms);
    buf_done(&b->answer);
    free(b->seen.slots);
    free(b);
}
