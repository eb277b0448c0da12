/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox's directory to here, from a tar stream that may say anything: every name is walked from the
 * target's own directory, component by component, without following a link. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/random.h"
#include "base/tar.h"
#include "client/landing.h"
#include "client/tree.h"
#include "client/tree_link.h"

enum { DIRS_MAX = 1 << 20 };

struct unpacker {
    int root;     /* the directory that all goes below */
    bool fresh;   /* it is ours alone, and gone if anything fails: no file needs to land softly */
    char *parent; /* path of the directory that was last used */
    int parent_fd;
    struct landing landing;
    int fd; /* of the file being written */
    struct tar_entry file;
    struct made {
        char *path;
        unsigned mode;
        struct timespec mtime;
    } * dirs; /* get modes and times at the end, when nothing goes into them any more */
    size_t dir_count;
    struct tree_progress progress;
    struct carrel_error *err; /* never NULL */
    bool failed;
};

static int fail(struct unpacker *u, struct str path, int error)
{
    u->failed = true;
    return error_os(u->err, error, "write %.*s", STR_ARG(path));
}

static int refuse(struct unpacker *u, struct str path, const char *why)
{
    u->failed = true;
    return error_set(u->err, CARREL_SERVER, "the sandbox sent the name \"%.*s\": %s",
                     (int)(path.len < 100 ? path.len : 100), path.p, why);
}

/* "./a//b/" as "a/b"; an empty text is the root. False: leads elsewhere. */
static bool plain_name(struct str path, char **ret)
{
    char *out = xmalloc(path.len + 1), *to = out;
    struct str part, rest = path;
    bool good = path.len > 0 && path.p[0] != '/' && !memchr(path.p, '\0', path.len);
    while (good && str_split(&rest, '/', &part)) {
        if (part.len == 0 || str_eqz(part, "."))
            continue;
        good = !str_eqz(part, "..");
        if (to != out)
            *to++ = '/';
        memcpy(to, part.p, part.len);
        to += part.len;
    }
    *to = '\0';
    if (!good)
        free(TAKE_PTR(out));
    *ret = out;
    return good;
}

/* One step down, making the directory if it is not there. A new descriptor or -errno. */
static int step(int dir, const char *name)
{
    if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* The directory with this plain path, borrowed until the next call. */
static int directory(struct unpacker *u, const char *path)
{
    if (*path == '\0')
        return u->root;
    if (u->parent && strcmp(u->parent, path) == 0)
        return u->parent_fd;
    _cleanup_close_ int fd = fcntl(u->root, F_DUPFD_CLOEXEC, 3);
    struct str part, rest = str_from(path);
    if (fd < 0)
        return -errno;
    while (str_split(&rest, '/', &part)) {
        _cleanup_free_ char *name = xstrndup(part.p, part.len);
        int below = step(fd, name);
        if (below < 0)
            return below;
        close(fd);
        fd = below;
    }
    free(u->parent);
    fd_closep(&u->parent_fd);
    u->parent = xstrdup(path);
    u->parent_fd = TAKE_FD(fd);
    return u->parent_fd;
}

/* The directory that a plain path is in, and its last component (a view of the path). */
static int parent_of(struct unpacker *u, char *path, const char **ret_name)
{
    char *slash = strrchr(path, '/');
    *ret_name = slash ? slash + 1 : path;
    if (!slash)
        return u->root;
    *slash = '\0';
    int dir = directory(u, path);
    *slash = '/';
    return dir;
}

/* ---- entries ---- */

static int begin_dir(struct unpacker *u, const struct tar_entry *e, const char *path)
{
    int fd = directory(u, path);
    if (fd < 0)
        return fail(u, e->path, -fd);
    if (u->dir_count == DIRS_MAX)
        return refuse(u, e->path, "too many directories");
    if ((u->dir_count & (u->dir_count - 1)) == 0)
        u->dirs = xrealloc(u->dirs, (u->dir_count ? 2 * u->dir_count : 1) * sizeof *u->dirs);
    u->dirs[u->dir_count++] = (struct made){xstrdup(path), e->mode & 0777, {e->mtime, e->mtime_ns}};
    return 0;
}

static int begin_file(struct unpacker *u, const struct tar_entry *e, int dir, const char *name)
{
    u->file = *e;
    if (!u->fresh) {
        int rc = landing_open(&u->landing, dir, name);
        u->fd = u->landing.fd;
        return rc < 0 ? fail(u, e->path, -rc) : 0;
    }
    u->fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (u->fd < 0 && errno == EEXIST && unlinkat(dir, name, 0) == 0) /* named twice */
        u->fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return u->fd < 0 ? fail(u, e->path, errno) : 0;
}

static int make_symlink(struct unpacker *u, const struct tar_entry *e, int dir, const char *name)
{
    _cleanup_free_ char *target = xstrndup(e->link.p, e->link.len);
    if (symlinkat(target, dir, name) == 0)
        return 0;
    if (errno != EEXIST || unlinkat(dir, name, 0) < 0 || symlinkat(target, dir, name) < 0)
        return fail(u, e->path, errno);
    return 0;
}

static int make_hard_link(struct unpacker *u, const struct tar_entry *e, const char *path)
{
    _cleanup_free_ char *from = NULL, *to = xstrdup(path);
    const char *from_name, *to_name;
    if (!plain_name(e->link, &from) || !*from)
        return refuse(u, e->link, "a link out of the directory");
    int dir = parent_of(u, from, &from_name);
    _cleanup_close_ int from_dir = dir < 0 ? -1 : fcntl(dir, F_DUPFD_CLOEXEC, 3);
    int to_dir = parent_of(u, to, &to_name);
    if (from_dir < 0 || to_dir < 0)
        return fail(u, e->path, ENOENT);
    unlinkat(to_dir, to_name, 0);
    if (linkat(from_dir, from_name, to_dir, to_name, 0) < 0)
        return fail(u, e->path, errno);
    tree_progress(&u->progress, 0, 1);
    return 0;
}

static int on_entry(const struct tar_entry *e, void *arg)
{
    struct unpacker *u = arg;
    _cleanup_free_ char *path = NULL;
    const char *name;
    if (!plain_name(e->path, &path))
        return refuse(u, e->path, "it leads out of the directory");
    if (e->type == TAR_DIR)
        return begin_dir(u, e, path);
    if (!*path)
        return refuse(u, e->path, "it is the directory itself");
    if (e->type == TAR_HARD_LINK)
        return make_hard_link(u, e, path);
    int dir = parent_of(u, path, &name);
    if (dir < 0)
        return fail(u, e->path, -dir);
    if (e->type == TAR_SYMLINK)
        return make_symlink(u, e, dir, name);
    return e->type == TAR_FILE ? begin_file(u, e, dir, name) : 0; /* no devices, no pipes */
}

static int on_data(const char *p, size_t n, void *arg)
{
    struct unpacker *u = arg;
    if (u->fd < 0)
        return 0;
    int rc = fd_write_all(u->fd, p, n);
    if (rc < 0) {
        u->failed = true;
        return error_os(u->err, -rc, "write a file of the directory");
    }
    tree_progress(&u->progress, (int64_t)n, 0);
    return 0;
}

static int on_entry_end(void *arg)
{
    struct unpacker *u = arg;
    const struct timespec times[2] = {{0, UTIME_OMIT}, {u->file.mtime, u->file.mtime_ns}};
    int rc = 0;
    if (u->fd < 0)
        return 0;
    if (u->fresh) {
        if (fchmod(u->fd, u->file.mode & 0777) < 0)
            rc = -errno;
        futimens(u->fd, times);
        fd_closep(&u->fd);
    } else {
        u->fd = -1;
        rc = landing_finish(&u->landing, u->file.mode, u->file.mtime * INT64_C(1000000000));
        landing_done(&u->landing);
    }
    if (rc < 0) {
        u->failed = true;
        return error_os(u->err, -rc, "write a file of the directory");
    }
    tree_progress(&u->progress, 0, 1);
    return 0;
}

/* The last ones first: a directory that nobody may enter is left before it is closed. */
static void finish_dirs(struct unpacker *u)
{
    while (u->dir_count > 0) {
        struct made *made = &u->dirs[--u->dir_count];
        const struct timespec times[2] = {{0, UTIME_OMIT}, made->mtime};
        int fd = directory(u, made->path);
        if (fd >= 0 && (u->fresh || *made->path)) {
            fchmod(fd, made->mode);
            futimens(fd, times);
        }
        free(made->path);
    }
}

static void unpacker_done(struct unpacker *u)
{
    while (u->dir_count > 0)
        free(u->dirs[--u->dir_count].path);
    free(u->dirs);
    free(u->parent);
    if (u->fresh)
        fd_closep(&u->fd);
    landing_done(&u->landing);
    fd_closep(&u->parent_fd);
    fd_closep(&u->root);
}

/* ---- the whole ---- */

struct feed {
    struct unpacker *unpacker;
    struct tar_reader *reader;
};

static int on_bytes(void *arg, const void *p, size_t n)
{
    struct feed *feed = arg;
    struct err why;
    int rc = tar_reader_feed(feed->reader, p, n, &why);
    if (rc < 0 && !feed->unpacker->failed) {
        feed->unpacker->failed = true;
        error_set(feed->unpacker->err, CARREL_SERVER, "the sandbox sent what is no archive: %s",
                  why.message);
    }
    return rc;
}

static int unpack(struct carrel_sandbox *sandbox, const char *from, struct unpacker *u,
                  const struct carrel_call *call)
{
    static const struct tar_events events = {on_entry, on_data, on_entry_end};
    struct feed feed = {u, tar_reader_new(&events, u)};
    struct carrel_error why = {0};
    struct err cut;
    int rc = tree_link_receive(sandbox, from, on_bytes, &feed, call, &why);
    if (u->failed)
        rc = -(int)u->err->code;
    else if (rc < 0)
        *u->err = why;
    else if (tar_reader_finish(feed.reader, &cut) < 0)
        rc = error_set(u->err, CARREL_CUT, "the archive was cut: %s", cut.message);
    tar_reader_free(feed.reader);
    if (rc == 0)
        finish_dirs(u);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return kind == FTW_DP ? rmdir(path) : unlink(path);
}

/* Makes the tree under a name of its own beside the target, and gives it the target's when it is
 * whole. */
static int download_new(struct carrel_sandbox *sandbox, const char *from, const char *to,
                        struct unpacker *u, const struct carrel_call *call)
{
    char id[13];
    struct str dir = path_dir(str_from(to));
    random_id(id, sizeof id - 1);
    _cleanup_free_ char *hidden = xasprintf("%.*s/.carrel-%s", STR_ARG(dir), id);
    if (mkdir(hidden, 0700) < 0)
        return error_os(u->err, errno, "make %s", to);
    u->fresh = true;
    u->root = open(hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc =
        u->root < 0 ? error_os(u->err, errno, "open %s", hidden) : unpack(sandbox, from, u, call);
    if (rc == 0 && renameat2(AT_FDCWD, hidden, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
        rc = error_os(u->err, errno, "put %s in its place", to);
    if (rc < 0)
        nftw(hidden, remove_one, 32, FTW_PHYS | FTW_DEPTH);
    return rc;
}

int tree_download(struct carrel_sandbox *sandbox, const char *from, const char *to,
                  const struct carrel_transfer *transfer, const struct carrel_call *call,
                  struct carrel_error *err)
{
    struct carrel_error own;
    struct unpacker u = {
        .root = -1,
        .parent_fd = -1,
        .fd = -1,
        .landing = {.fd = -1, .dir = -1},
        .progress = {.transfer = transfer},
        .err = err ? err : &own,
    };
    _cleanup_free_ char *target = xstrdup(to);
    struct stat st;
    int rc;
    for (size_t n = strlen(target); n > 1 && target[n - 1] == '/'; n--)
        target[n - 1] = '\0';
    if (stat(target, &st) < 0 && errno == ENOENT) {
        rc = download_new(sandbox, from, target, &u, call);
    } else {
        u.root = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = u.root < 0 ? error_os(u.err, errno, "open %s", target)
                        : unpack(sandbox, from, &u, call);
    }
    unpacker_done(&u);
    return rc;
}
