/* SPDX-License-Identifier: Apache-2.0 */
/* A local directory into a sandbox, as a tar stream: what is there is read when it is its turn, and
 * nothing is collected. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/tar.h"
#include "client/tree.h"
#include "client/tree_link.h"

enum { OUT_MAX = 4 << 20, PIECE = 256 << 10 };

struct packer {
    FTS *fts;
    size_t skip; /* of each path: the directory's own, and a slash */
    struct buf out;
    int fd;        /* of the file whose content goes out */
    uint64_t size; /* as its header says */
    uint64_t left;
    bool over;
    struct tree_progress *progress;
    char where[4096]; /* the file that is read, or that could not be */
    int error;
};

static int fail(struct packer *p, const char *where, int error)
{
    if (where != p->where)
        snprintf(p->where, sizeof p->where, "%s", where);
    p->error = error;
    return -1;
}

static int put_head(struct packer *p, const FTSENT *e, const char *link, size_t link_len)
{
    const struct stat *st = e->fts_statp;
    const bool file = S_ISREG(st->st_mode);
    const char *path = e->fts_pathlen > p->skip ? e->fts_path + p->skip : ".";
    const struct tar_entry entry = {
        .type = S_ISDIR(st->st_mode)   ? TAR_DIR
                : S_ISLNK(st->st_mode) ? TAR_SYMLINK
                                       : TAR_FILE,
        .path = str_from(path),
        .link = {link, link_len},
        .size = file ? (uint64_t)st->st_size : 0,
        .mode = st->st_mode & 0777,
        .mtime = st->st_mtim.tv_sec,
    };
    if (tar_put_head(&p->out, &entry) < 0)
        return fail(p, e->fts_path, ENAMETOOLONG);
    tree_progress(p->progress, 0, file);
    return 0;
}

static int put_link(struct packer *p, const FTSENT *e)
{
    char target[65536];
    ssize_t n = readlink(e->fts_accpath, target, sizeof target);
    return n < 0 ? fail(p, e->fts_path, errno) : put_head(p, e, target, (size_t)n);
}

static int open_file(struct packer *p, FTSENT *e)
{
    p->fd = open(e->fts_accpath, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (p->fd < 0 || fstat(p->fd, e->fts_statp) < 0)
        return fail(p, e->fts_path, errno);
    if (!S_ISREG(e->fts_statp->st_mode)) {
        fd_closep(&p->fd);
        return 0;
    }
    p->size = p->left = (uint64_t)e->fts_statp->st_size;
    snprintf(p->where, sizeof p->where, "%s", e->fts_path);
    return put_head(p, e, "", 0);
}

/* The next thing in the directory; what cannot be copied, such as a socket, is left out. */
static int next(struct packer *p)
{
    FTSENT *e = fts_read(p->fts);
    if (!e && errno)
        return fail(p, "the directory", errno);
    if (!e) {
        p->over = true;
        return tar_put_end(&p->out);
    }
    switch (e->fts_info) {
    case FTS_D:
        return put_head(p, e, "", 0);
    case FTS_F:
        return open_file(p, e);
    case FTS_SL:
    case FTS_SLNONE:
        return put_link(p, e);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return fail(p, e->fts_path, e->fts_errno);
    default:
        return 0;
    }
}

static int put_content(struct packer *p)
{
    size_t want = p->left < PIECE ? (size_t)p->left : PIECE;
    char *room = want ? buf_reserve(&p->out, want) : NULL;
    ssize_t n = want ? read(p->fd, room, want) : 0;
    if (n < 0)
        return fail(p, p->where, errno);
    if (n == 0 && p->left) /* it shrank: never half a file for a whole one */
        return fail(p, p->where, EIO);
    buf_added(&p->out, (size_t)n);
    p->left -= (size_t)n;
    tree_progress(p->progress, n, 0);
    if (p->left)
        return 0;
    fd_closep(&p->fd);
    return tar_put_padding(&p->out, p->size);
}

/* A carrel_source_fn. */
static ssize_t give(void *arg, void *to, size_t n)
{
    struct packer *p = arg;
    while (buf_len(&p->out) < n && !p->over)
        if ((p->fd >= 0 ? put_content(p) : next(p)) < 0)
            return -1;
    if (n > buf_len(&p->out))
        n = buf_len(&p->out);
    memcpy(to, buf_ptr(&p->out), n);
    buf_consume(&p->out, n);
    return (ssize_t)n;
}

int tree_upload(struct carrel_sandbox *sandbox, const char *from, const char *to,
                const struct carrel_transfer *transfer, const struct carrel_call *call,
                struct carrel_error *err)
{
    struct tree_progress progress = {.transfer = transfer};
    struct packer p = {.fd = -1, .progress = &progress};
    _cleanup_free_ char *root = xstrdup(from);
    for (size_t n = strlen(root); n > 1 && root[n - 1] == '/'; n--)
        root[n - 1] = '\0';
    char *const roots[] = {root, NULL};
    p.skip = strlen(root) + (strcmp(root, "/") != 0);
    p.fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, NULL);
    if (!p.fts)
        return error_os(err, errno, "open %s", from);
    buf_init(&p.out, OUT_MAX);
    int rc = tree_link_send(sandbox, to, give, &p, call, err);
    if (p.error)
        rc = error_os(err, p.error, "read %s", p.where);
    fts_close(p.fts);
    fd_closep(&p.fd);
    buf_done(&p.out);
    return rc;
}
