/* SPDX-License-Identifier: Apache-2.0 */
/* Writing one file atomically. */
#include "agent/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "agent/tree.h"
#include "agent/upload_journal.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/random.h"
#include "http/conditional.h"

enum { LINKS_MAX = 40, TEMP_SIZE = 40 };

struct upload {
    char *path;   /* as given */
    char *target; /* behind all symlinks */
    char *name;   /* last component of target */
    char *where;  /* directory that `dir` is: target's, or its nearest ancestor that exists */
    bool parents_missing;
    int dir;
    int fd;               /* the new content */
    char temp[TEMP_SIZE]; /* its name in dir, noted in the journal; "": none */
    bool is_named;        /* the name has been made */
    int slot;             /* of the journal, for temp */
    bool replaces;        /* the target was there when the upload began */
    mode_t mode;          /* its permissions */
    const struct upload_terms *terms;
    struct sha256 *hash; /* NULL: not asked for */
    unsigned char digest[SHA256_SIZE];
    struct stat made; /* what was put in place */
    int64_t size;
};

/* Between looking at a condition and putting the file in its place, no other upload does that. */
static pthread_mutex_t placing = PTHREAD_MUTEX_INITIALIZER;

/* The errors of protocol.md 3.4: a full disk is told as such, what else fails is ours. */
static int fail(struct err *err, int os, const char *what, const char *path)
{
    if (os == ENOSPC || os == EDQUOT)
        return err_set(err, ERR_NO_SPACE, os, "not enough disk space available: %s '%s'", what,
                       path);
    return err_set(err, ERR_INTERNAL, os, "%s '%s'", what, path);
}

static int not_regular(struct err *err, mode_t mode, const char *path)
{
    if (S_ISDIR(mode))
        return err_set(err, ERR_INVALID, 0, "path is a directory: %s", path);
    return err_set(err, ERR_INVALID, 0, "path is not a regular file: %s", path);
}

/* ---- conditions ---- */

/* st: of what is there, NULL for nothing. */
static int check_conditions(const struct upload *u, const struct stat *st, struct err *err)
{
    char etag[ETAG_SIZE];
    if (st)
        etag_format(st, etag);
    if (http_conditional_write(str_from(u->terms->if_match), str_from(u->terms->if_none_match),
                               st ? etag : NULL))
        return 0;
    return err_set(err, ERR_PRECONDITION, 0, "'%s' is %s%s", u->path,
                   st ? "there, and its tag is " : "not there", st ? etag : "");
}

static bool is_conditional(const struct upload *u)
{
    return u->terms->if_match || u->terms->if_none_match;
}

/* ---- finding the place ---- */

static char *sibling(const char *path, const char *name)
{
    struct str dir = path_dir(str_from(path));
    _cleanup_free_ char *copy = xstrndup(dir.p, dir.len);
    return path_join(copy, name);
}

/* Follows symlinks until the target is something else or nothing. */
static int find_target(struct upload *u, struct err *err)
{
    u->target = xstrdup(u->path);
    for (int links = 0; links <= LINKS_MAX; links++) {
        struct stat st;
        struct str base = path_base(str_from(u->target));
        size_t len = strlen(u->target);
        if (u->target[len - 1] == '/' || str_eqz(base, ".") || str_eqz(base, ".."))
            return not_regular(err, S_IFDIR, u->path);
        if (lstat(u->target, &st) < 0) {
            if (errno != ENOENT)
                return fail(err, errno, "open", u->path);
            return check_conditions(u, NULL, err);
        }
        if (S_ISREG(st.st_mode)) {
            u->replaces = true;
            u->mode = st.st_mode & (0777 | S_ISVTX);
            return check_conditions(u, &st, err);
        }
        if (!S_ISLNK(st.st_mode))
            return not_regular(err, st.st_mode, u->path);
        char text[PATH_MAX];
        ssize_t n = readlink(u->target, text, sizeof text - 1);
        if (n <= 0)
            return fail(err, n < 0 ? errno : EINVAL, "read link", u->target);
        text[n] = '\0';
        char *next = text[0] == '/' ? xstrdup(text) : sibling(u->target, text);
        free(u->target);
        u->target = next;
    }
    return fail(err, ELOOP, "open", u->path);
}

/* The target's directory, or the nearest one above it that is there: what has to be made is made at
 * commit, so that a failed upload leaves no directories either. */
static int open_dir(struct upload *u, struct err *err)
{
    struct str dir = path_dir(str_from(u->target));
    u->where = xstrndup(dir.p, dir.len);
    for (;;) {
        u->dir = open(u->where, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (u->dir >= 0)
            return 0;
        if (errno != ENOENT || strcmp(u->where, "/") == 0)
            return fail(err, errno, "open directory of", u->path);
        u->parents_missing = true;
        dir = path_dir(str_from(u->where));
        char *above = xstrndup(dir.p, dir.len);
        free(u->where);
        u->where = above;
    }
}

static void choose_temp(struct upload *u)
{
    char id[17];
    random_id(id, 16);
    snprintf(u->temp, sizeof u->temp, UPLOAD_TEMP_PREFIX "%s", id);
    _cleanup_free_ char *path = path_join(u->where, u->temp);
    u->slot = upload_journal_note(path);
}

static void forget_temp(struct upload *u)
{
    u->temp[0] = '\0';
    u->is_named = false;
    upload_journal_forget(u->slot);
    u->slot = -1;
}

/* Which mount a directory is on; 0: the kernel cannot say. */
static uint64_t mount_of(int dir, const char *path, int flags)
{
    struct statx sx;
    if (statx(dir, path, flags, STATX_MNT_ID, &sx) < 0 || !(sx.stx_mask & STATX_MNT_ID))
        return 0;
    return sx.stx_mnt_id;
}

/* A nameless file, too, has a directory, whose watchers are told of writes to "#<inode>". Those of
 * the root directory are the fewest, so it is the place wherever link(2) can reach from there. */
static int open_nameless(struct upload *u)
{
    uint64_t here = mount_of(u->dir, "", AT_EMPTY_PATH);
    bool reachable = here && here == mount_of(AT_FDCWD, "/", 0);
    return openat(u->dir, reachable ? "/" : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
}

static int open_file(struct upload *u, struct err *err)
{
    u->fd = open_nameless(u);
    if (u->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return fail(err, errno, "create", u->path);
    choose_temp(u);
    u->fd = openat(u->dir, u->temp, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0644);
    u->is_named = u->fd >= 0;
    if (u->is_named)
        return 0;
    int os = errno;
    forget_temp(u);
    return fail(err, os, "create", u->path);
}

int upload_open(const char *path, const struct upload_terms *terms, struct upload **ret,
                struct err *err)
{
    struct upload *u = xcalloc(1, sizeof *u);
    u->dir = u->fd = u->slot = -1;
    u->path = xstrdup(path);
    u->terms = terms;
    if (terms->digest_given || terms->digest_wanted)
        u->hash = sha256_new();
    int r = find_target(u, err);
    if (r == 0)
        r = open_dir(u, err);
    if (r == 0)
        r = open_file(u, err);
    if (r < 0) {
        upload_free(u);
        return r;
    }
    struct str base = path_base(str_from(u->target));
    u->name = xstrndup(base.p, base.len);
    *ret = u;
    return 0;
}

/* ---- content ---- */

int upload_write(struct upload *u, const void *p, size_t n, struct err *err)
{
    int r = fd_write_all(u->fd, p, n);
    if (r < 0)
        return fail(err, -r, "write", u->path);
    if (u->hash)
        sha256_add(u->hash, p, n);
    u->size += (int64_t)n;
    return 0;
}

/* From the present position of `from` to its end. The bytes, or -errno. */
static int64_t copy_all(int from, int to)
{
    _cleanup_free_ char *piece = xmalloc(256 * 1024);
    int64_t total = 0;
    for (;;) {
        ssize_t n = read(from, piece, 256 * 1024);
        if (n < 0 && errno == EINTR)
            continue;
        int r = n < 0 ? -errno : fd_write_all(to, piece, (size_t)n);
        if (r < 0)
            return r;
        if (n == 0)
            return total;
        total += n;
    }
}

/* Of composed files: the terms there ask for no digest. */
int upload_write_file(struct upload *u, int fd, struct err *err)
{
    int64_t n = copy_all(fd, u->fd);
    if (n < 0)
        return fail(err, (int)-n, "write", u->path);
    u->size += n;
    return 0;
}

/* ---- commit ---- */

/* What the old file has beyond its mode: its ACL and the attributes that are not ours. */
static void copy_attributes(struct upload *u)
{
    char names[4096], value[4096];
    ssize_t len = llistxattr(u->target, names, sizeof names);
    for (char *name = names; len > 0 && name < names + len; name += strlen(name) + 1) {
        struct str s = str_from(name);
        bool wanted = str_eqz(s, "system.posix_acl_access") ||
                      (str_starts(s, STR("user.")) && !str_starts(s, STR(METADATA_PREFIX)));
        ssize_t n = wanted ? lgetxattr(u->target, name, value, sizeof value) : -1;
        if (n >= 0)
            fsetxattr(u->fd, name, value, (size_t)n, 0);
    }
}

/* Permissions of the new file; -1: as it was made. */
static int mode_of(const struct upload *u)
{
    return u->terms->mode >= 0 ? u->terms->mode : u->replaces ? (int)u->mode : -1;
}

static int check_digest(struct upload *u, struct err *err)
{
    if (!u->hash)
        return 0;
    sha256_finish(u->hash, u->digest);
    if (!u->terms->digest_given || memcmp(u->digest, u->terms->digest, SHA256_SIZE) == 0)
        return 0;
    char field[SHA256_FIELD_SIZE];
    sha256_field(u->digest, field);
    return err_set(err, ERR_INVALID, 0, "the content of '%s' is not what Repr-Digest says, but %s",
                   u->path, field);
}

static int dress(struct upload *u, struct err *err)
{
    if (fchown(u->fd, u->terms->uid, u->terms->gid) < 0)
        return fail(err, errno, "change owner of", u->path);
    if (mode_of(u) >= 0 && fchmod(u->fd, (mode_t)mode_of(u)) < 0)
        return fail(err, errno, "change mode of", u->path);
    if (u->replaces)
        copy_attributes(u);
    int r = metadata_store(u->fd, &u->terms->metadata);
    if (r < 0)
        return fail(err, -r, "store metadata of", u->path);
    if (u->terms->sync && fsync(u->fd) < 0)
        return fail(err, errno, "write to disk", u->path);
    return 0;
}

static int make_place(struct upload *u, struct err *err)
{
    if (!u->parents_missing)
        return 0;
    struct str dir = path_dir(str_from(u->target));
    _cleanup_free_ char *parent = xstrndup(dir.p, dir.len);
    int r = tree_make_dirs(parent, u->terms->uid, u->terms->gid, NULL);
    if (r < 0)
        return fail(err, -r, "make the parent directory of", u->path);
    int fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, errno, "open directory of", u->path);
    if (u->is_named) { /* it stands in the ancestor: comes along */
        _cleanup_free_ char *path = path_join(parent, u->temp);
        int slot = upload_journal_note(path);
        if (renameat(u->dir, u->temp, fd, u->temp) < 0) {
            int os = errno;
            upload_journal_forget(slot);
            close(fd);
            return fail(err, os, "create", u->path);
        }
        upload_journal_forget(u->slot);
        u->slot = slot;
    }
    close(u->dir);
    u->dir = fd;
    free(u->where);
    u->where = TAKE_PTR(parent);
    return 0;
}

/* Gives the file a name in dir. 0 or -errno. */
static int link_as(struct upload *u, const char *name)
{
    if (u->is_named)
        return linkat(u->dir, u->temp, u->dir, name, 0) < 0 ? -errno : 0;
    if (linkat(u->fd, "", u->dir, name, AT_EMPTY_PATH) == 0)
        return 0;
    /* Before Linux 6.10 that needs a capability of the first user namespace. */
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", u->fd);
    return linkat(AT_FDCWD, self, u->dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* A mount point cannot be renamed over; its file is written in place, once all bytes are there. */
static int write_in_place(struct upload *u)
{
    _cleanup_close_ int fd =
        openat(u->dir, u->name, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || lseek(u->fd, 0, SEEK_SET) < 0 || fchown(fd, u->terms->uid, u->terms->gid) < 0 ||
        (u->terms->mode >= 0 && fchmod(fd, (mode_t)u->terms->mode) < 0))
        return -errno;
    int64_t n = copy_all(u->fd, fd);
    int r = n < 0 ? (int)n : metadata_store(fd, &u->terms->metadata);
    if (r == 0 && u->terms->sync && fsync(fd) < 0)
        r = -errno;
    return r == 0 && fstat(fd, &u->made) < 0 ? -errno : r;
}

/* Takes the place of what is there. 0 or -errno; -EBUSY for a mount point. */
static int replace(struct upload *u)
{
    struct stat st;
    if (fstatat(u->dir, u->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!u->is_named) {
        choose_temp(u);
        int r = link_as(u, u->temp);
        if (r < 0) {
            forget_temp(u);
            return r;
        }
        u->is_named = true;
    }
    if (renameat(u->dir, u->temp, u->dir, u->name) < 0)
        return -errno; /* the temporary goes with upload_free */
    forget_temp(u);
    return 0;
}

/* Sets owner and size once more by the file's name, to what they are: see the head of upload.h. */
static void announce(struct upload *u)
{
    struct stat found;
    _cleanup_close_ int fd =
        openat(u->dir, u->name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool is_there = fd >= 0 && fstat(u->fd, &u->made) == 0 && fstat(fd, &found) == 0 &&
                    u->made.st_ino == found.st_ino && u->made.st_dev == found.st_dev;
    if (is_there && fchown(fd, u->terms->uid, u->terms->gid) == 0 && ftruncate(fd, u->size) < 0)
        return;
    /* A change of owner, even to the same one, takes setuid and setgid away. */
    if (is_there && u->terms->mode > 01777 && fchmod(fd, (mode_t)u->terms->mode) < 0)
        return;
    fstat(u->fd, &u->made);
}

/* Under `placing`. 0 or -errno; -ECANCELED with *err set: a condition does not hold. */
static int place(struct upload *u, struct err *err)
{
    struct stat st;
    if (is_conditional(u)) {
        bool is_there = fstatat(u->dir, u->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (check_conditions(u, is_there ? &st : NULL, err) < 0)
            return -ECANCELED;
    }
    int r = link_as(u, u->name);
    if (r == 0 && u->is_named) {
        unlinkat(u->dir, u->temp, 0);
        forget_temp(u);
    }
    if (r == -EEXIST && u->terms->if_none_match && strcmp(u->terms->if_none_match, "*") == 0) {
        err_set(err, ERR_PRECONDITION, 0, "'%s' is there", u->path);
        return -ECANCELED;
    }
    if (r == -EEXIST || r == -EPERM || r == -EOPNOTSUPP) /* there, or no hard links here */
        r = replace(u);
    if (r == 0)
        announce(u);
    return r;
}

int upload_commit(struct upload *u, struct err *err)
{
    int r = check_digest(u, err);
    if (r == 0)
        r = dress(u, err);
    if (r == 0)
        r = make_place(u, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&placing);
    r = place(u, err);
    pthread_mutex_unlock(&placing);
    if (r == -ECANCELED)
        return r;
    if (r == -EBUSY)
        r = write_in_place(u);
    if (r == -EISDIR)
        return not_regular(err, S_IFDIR, u->path);
    if (r == 0 && u->terms->sync) {
        _cleanup_close_ int dir = openat(u->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || fsync(dir) < 0)
            r = -errno;
    }
    if (r < 0)
        return fail(err, -r, "put in place", u->path);
    return 0;
}

void upload_etag(const struct upload *u, char out[ETAG_SIZE])
{
    etag_format(&u->made, out);
}

const unsigned char *upload_digest(const struct upload *u)
{
    return u->terms->digest_wanted ? u->digest : NULL;
}

const char *upload_path(const struct upload *u)
{
    return u->path;
}

void upload_free(struct upload *u)
{
    if (!u)
        return;
    if (u->is_named)
        unlinkat(u->dir, u->temp, 0);
    forget_temp(u);
    fd_closep(&u->fd);
    fd_closep(&u->dir);
    sha256_free(u->hash);
    free(u->path);
    free(u->target);
    free(u->name);
    free(u->where);
    free(u);
}
