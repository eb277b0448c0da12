/* SPDX-License-Identifier: Apache-2.0 */
/* Writing one file atomically. */
#include "agent/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "agent/tree.h"
#include "agent/upload_journal.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/random.h"

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
    uid_t uid;
    gid_t gid;
    int64_t size;
};

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
            return 0;
        }
        if (S_ISREG(st.st_mode)) {
            u->replaces = true;
            u->mode = st.st_mode & (0777 | S_ISVTX);
            return 0;
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

int upload_open(const char *path, uid_t uid, gid_t gid, struct upload **ret, struct err *err)
{
    struct upload *u = xcalloc(1, sizeof *u);
    u->dir = u->fd = u->slot = -1;
    u->path = xstrdup(path);
    u->uid = uid;
    u->gid = gid;
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

static int dress(struct upload *u, const struct metadata *metadata, struct err *err)
{
    if (fchown(u->fd, u->uid, u->gid) < 0)
        return fail(err, errno, "change owner of", u->path);
    if (u->replaces && fchmod(u->fd, u->mode) < 0)
        return fail(err, errno, "change mode of", u->path);
    if (u->replaces)
        copy_attributes(u);
    int r = metadata_store(u->fd, metadata);
    return r < 0 ? fail(err, -r, "store metadata of", u->path) : 0;
}

static int make_place(struct upload *u, struct err *err)
{
    if (!u->parents_missing)
        return 0;
    struct str dir = path_dir(str_from(u->target));
    _cleanup_free_ char *parent = xstrndup(dir.p, dir.len);
    int r = tree_make_dirs(parent, u->uid, u->gid, NULL);
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
static int write_in_place(struct upload *u, const struct metadata *metadata)
{
    _cleanup_close_ int fd =
        openat(u->dir, u->name, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || lseek(u->fd, 0, SEEK_SET) < 0 || fchown(fd, u->uid, u->gid) < 0)
        return -errno;
    int64_t n = copy_all(u->fd, fd);
    return n < 0 ? (int)n : metadata_store(fd, metadata);
}

/* Takes the place of what is there. 0 or -errno. */
static int replace(struct upload *u, const struct metadata *metadata)
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
    if (renameat(u->dir, u->temp, u->dir, u->name) < 0) {
        int os = errno;
        if (os != EBUSY)
            return -os;
        return write_in_place(u, metadata); /* the temporary goes with upload_free */
    }
    forget_temp(u);
    return 0;
}

/* Sets owner and size once more by the file's name, to what they are: see the head of upload.h. */
static void announce(struct upload *u)
{
    struct stat made, found;
    _cleanup_close_ int fd =
        openat(u->dir, u->name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(u->fd, &made) < 0 || fstat(fd, &found) < 0 || made.st_ino != found.st_ino ||
        made.st_dev != found.st_dev)
        return; /* taken away or replaced again already */
    if (fchown(fd, u->uid, u->gid) == 0 && ftruncate(fd, u->size) < 0)
        return;
}

int upload_commit(struct upload *u, const struct metadata *metadata, struct err *err)
{
    int r = dress(u, metadata, err);
    if (r == 0)
        r = make_place(u, err);
    if (r < 0)
        return r;
    /* Also when something was there at the beginning: it may be gone, and then this is a new file. */
    r = link_as(u, u->name);
    if (r == 0 && u->is_named) {
        unlinkat(u->dir, u->temp, 0);
        forget_temp(u);
    }
    if (r == -EEXIST || r == -EPERM || r == -EOPNOTSUPP) /* there, or no hard links here */
        r = replace(u, metadata);
    if (r == -EISDIR)
        return not_regular(err, S_IFDIR, u->path);
    if (r < 0)
        return fail(err, -r, "put in place", u->path);
    announce(u);
    return 0;
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
    free(u->path);
    free(u->target);
    free(u->name);
    free(u->where);
    free(u);
}
