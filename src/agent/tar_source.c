/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a tree into tar. */
#include "agent/tar_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <sys/stat.h>

#include "agent/pseudo.h"
#include "base/tar.h"
#include "agent/walk.h"
#include "base/fd.h"
#include "base/mem.h"

enum {
    BUDGET = 100000,       /* names read in one go */
    READ_MAX = 128 * 1024, /* of a file in one go */
};

struct tar_source {
    struct walk *walk;
    size_t root_len; /* of the root's path, with the slash */
    bool began, ended;
    int file; /* being read; -1: none */
    uint64_t size, left;
};

int tar_source_open(const char *path, struct tar_source **ret, struct err *err)
{
    struct tar_source *s = xcalloc(1, sizeof *s);
    size_t len = strlen(path);
    s->file = -1;
    s->root_len = len + (len == 0 || path[len - 1] != '/');
    int r = walk_open(path, UINT32_MAX, &s->walk, err);
    if (r < 0)
        tar_source_free(s);
    else
        *ret = s;
    return r;
}

void tar_source_free(struct tar_source *s)
{
    if (!s)
        return;
    walk_free(s->walk);
    fd_closep(&s->file);
    free(s);
}

static int put_head(struct buf *out, enum tar_type type, struct str path, struct str link,
                    const struct stat *st)
{
    struct tar_entry e = {.type = type,
                          .path = path,
                          .link = link,
                          .size = type == TAR_FILE ? (uint64_t)st->st_size : 0,
                          .mode = st->st_mode & 07777,
                          .uid = st->st_uid,
                          .gid = st->st_gid,
                          .mtime = st->st_mtim.tv_sec};
    return tar_put_head(out, &e);
}

/* Whether it only vanished or became something else since it was listed. */
static bool has_gone(int os)
{
    return os == ENOENT || os == ENOTDIR || os == ELOOP || os == ENXIO || os == ENODEV;
}

/* Opened by name, looked at by descriptor: whatever it was before, it is a file now or nothing. */
static int put_file(struct tar_source *s, struct buf *out, const struct walk_entry *at,
                    struct str path)
{
    struct stat st;
    _cleanup_close_ int fd =
        openat(at->dir, at->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return has_gone(errno) ? 0 : -errno;
    if (!S_ISREG(st.st_mode))
        return 0;
    int r = put_head(out, TAR_FILE, path, STR(""), &st);
    if (r < 0)
        return r;
    s->size = s->left = (uint64_t)st.st_size;
    s->file = st.st_size ? TAKE_FD(fd) : -1;
    return 0;
}

static int put_dir(struct tar_source *s, struct buf *out, const struct walk_entry *at,
                   struct str path, const struct stat *st)
{
    int r = put_head(out, TAR_DIR, path, STR(""), st);
    _cleanup_close_ int fd =
        openat(at->dir, at->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r < 0 || fd < 0 || pseudo_file_system(fd))
        return r;
    return walk_enter(s->walk);
}

static int put_symlink(struct buf *out, const struct walk_entry *at, struct str path,
                       const struct stat *st)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(at->dir, at->name, target, sizeof target);
    return n <= 0 ? 0 : put_head(out, TAR_SYMLINK, path, (struct str){target, (size_t)n}, st);
}

static int put_entry(struct tar_source *s, struct buf *out, const struct walk_entry *at)
{
    struct stat st;
    struct str path = str_from(at->path + s->root_len);
    if (path.len > TAR_PATH_MAX - 2)
        return -ENAMETOOLONG;
    if (fstatat(at->dir, at->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return has_gone(errno) ? 0 : -errno;
    if (S_ISREG(st.st_mode))
        return put_file(s, out, at, path);
    if (S_ISDIR(st.st_mode))
        return put_dir(s, out, at, path, &st);
    return S_ISLNK(st.st_mode) ? put_symlink(out, at, path, &st) : 0;
}

/* Some of the open file. */
static int put_content(struct tar_source *s, struct buf *out)
{
    size_t n = s->left < READ_MAX ? (size_t)s->left : READ_MAX;
    char *room = buf_reserve(out, n);
    if (!room)
        return -ENOBUFS;
    ssize_t got = read(s->file, room, n);
    if (got <= 0)
        return got < 0 && errno == EINTR ? 0 : got < 0 ? -errno : -ENODATA;
    buf_added(out, (size_t)got);
    s->left -= (size_t)got;
    if (s->left)
        return 0;
    fd_closep(&s->file);
    return tar_put_padding(out, s->size);
}

static int put_root(struct tar_source *s, struct buf *out)
{
    struct stat st;
    s->began = true;
    int r = fstat(walk_root(s->walk), &st) < 0 ? -errno : 0;
    return r ? r : put_head(out, TAR_DIR, STR("."), STR(""), &st);
}

/* 1: there is more, 0: done, or -errno. */
static int step(struct tar_source *s, struct buf *out)
{
    struct walk_entry at;
    unsigned budget = BUDGET;
    int r;
    if (!s->began)
        r = put_root(s, out);
    else if (s->file >= 0)
        r = put_content(s, out);
    else if ((r = walk_next(s->walk, &budget, &at)) > 0)
        r = put_entry(s, out, &at);
    else if (r == -EAGAIN)
        return 1;
    else if (r == 0)
        return tar_put_end(out);
    return r < 0 ? r : 1;
}

int tar_source_fill(struct tar_source *s, struct buf *out, size_t room, struct err *err)
{
    size_t start = buf_len(out);
    int r = !s->ended;
    while (r > 0 && buf_len(out) - start < room)
        r = step(s, out);
    s->ended = r == 0;
    if (r == -ENODATA)
        return err_set(err, ERR_INTERNAL, 0, "'%s' became shorter", walk_path(s->walk));
    return r < 0 ? err_set(err, ERR_INTERNAL, -r, "read '%s'", walk_path(s->walk)) : r;
}
