/* SPDX-License-Identifier: Apache-2.0 */
/* Making a tree from an archive's entries. */
#include "agent/tar_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "agent/tree.h"
#include "agent/upload.h"
#include "agent/upload_journal.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/random.h"

enum { TEMP_SIZE = 40 };

struct tar_tree {
    const struct upload_terms *terms;
    bool preserve;
    char *path; /* the target, as given */
    int root;   /* the tree's directory, whatever its name is */

    /* While it is made apart: */
    bool is_apart;
    int place;   /* the directory it is made in */
    char *where; /* that one's path */
    char apart[TEMP_SIZE];
    int apart_slot; /* of the journal */
    uid_t uid;      /* what the root will be at the commit; until then it is closed to others */
    gid_t gid;
    mode_t mode;

    /* The directory used last, for the next name in it: */
    int dir;
    struct buf dir_path; /* below root, "a/b"; valid while dir >= 0 */

    /* The file being written: */
    int file; /* -1: none */
    struct tar_entry entry;
    char *name;           /* its last component */
    char temp[TEMP_SIZE]; /* what it is called until it is complete; "": it has its name already */
    int slot;
    uint64_t entries, bytes;
};

static int fail(struct err *err, int os, const char *what, struct str path)
{
    int shown = path.len > 120 ? 120 : (int)path.len;
    if (os == ENOSPC || os == EDQUOT)
        return err_set(err, ERR_NO_SPACE, os, "not enough disk space available: %s '%.*s'", what,
                       shown, path.p);
    bool by_archive = os == EISDIR || os == ENOTDIR || os == ELOOP || os == ENAMETOOLONG ||
                      os == ENOTEMPTY || os == EEXIST;
    return err_set(err, by_archive ? ERR_INVALID : ERR_INTERNAL, os, "%s '%.*s'", what, shown,
                   path.p);
}

static int refuse(struct err *err, const char *why, struct str path)
{
    return err_set(err, ERR_INVALID, 0, "entry '%.*s': %s", path.len > 120 ? 120 : (int)path.len,
                   path.p, why);
}

static void fresh_name(char temp[TEMP_SIZE])
{
    char id[17];
    random_id(id, 16);
    snprintf(temp, TEMP_SIZE, UPLOAD_TEMP_PREFIX "%s", id);
}

/* ---- names ---- */

/* The next component; "." and empty ones are passed over. 1, 0 at the end, or -EINVAL for "..". */
static int next_component(struct str *rest, struct str *ret)
{
    while (str_split(rest, '/', ret)) {
        if (ret->len == 0 || str_eqz(*ret, "."))
            continue;
        return str_eqz(*ret, "..") ? -EINVAL : 1;
    }
    return 0;
}

/* Takes a name apart: the directories in *dirs ("a/b"), the last component in *ret_name, NULL for the
 * root itself. */
static int take_apart(struct str path, struct buf *dirs, char **ret_name, struct err *err)
{
    struct str rest = path, part, last = {0};
    int r;
    if (path.len == 0 || path.p[0] == '/')
        return refuse(err, "an absolute name", path);
    while ((r = next_component(&rest, &part)) > 0) {
        if (last.p && buf_len(dirs))
            buf_append_char(dirs, '/');
        if (last.p && buf_append_str(dirs, last) < 0)
            return refuse(err, "the name is too long", path);
        last = part;
    }
    if (r < 0)
        return refuse(err, "a name with '..'", path);
    *ret_name = last.p ? xstrndup(last.p, last.len) : NULL;
    return 0;
}

/* ---- directories ---- */

static uid_t owner_of(const struct tar_tree *t, const struct tar_entry *e)
{
    return t->preserve && e ? e->uid : t->terms->uid;
}

static gid_t group_of(const struct tar_tree *t, const struct tar_entry *e)
{
    return t->preserve && e ? e->gid : t->terms->gid;
}

static mode_t mode_of(const struct tar_tree *t, const struct tar_entry *e)
{
    return e ? e->mode & (t->preserve ? 07777 : 0777) : 0755;
}

/* Makes or opens one level. e: whose directory it is, NULL for one that is only on the way. A new
 * directory is given away by its descriptor; a directory has no other name that could be meant. The
 * descriptor or -errno. */
static int open_level(struct tar_tree *t, int at, const char *name, const struct tar_entry *e)
{
    bool is_new = mkdirat(at, name, 0700) == 0;
    if (!is_new && errno != EEXIST)
        return -errno;
    _cleanup_close_ int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ELOOP ? -ENOTDIR : -errno;
    if (is_new && (fchown(fd, owner_of(t, e), group_of(t, e)) < 0 || fchmod(fd, mode_of(t, e)) < 0))
        return -errno;
    return TAKE_FD(fd);
}

static void leave_dir(struct tar_tree *t)
{
    fd_closep(&t->dir);
    buf_clear(&t->dir_path);
}

/* Goes to a directory below the root: from the one used last if it is below that. */
static int enter(struct tar_tree *t, struct str dirs, struct err *err)
{
    struct str before = buf_str(&t->dir_path), rest = dirs, part;
    if (t->dir >= 0 && str_eq(before, dirs))
        return 0;
    bool is_below = t->dir >= 0 && before.len && dirs.len > before.len &&
                    str_starts(dirs, before) && dirs.p[before.len] == '/';
    if (is_below) {
        rest = (struct str){dirs.p + before.len + 1, dirs.len - before.len - 1};
    } else {
        leave_dir(t);
        t->dir = fcntl(t->root, F_DUPFD_CLOEXEC, 0);
        if (t->dir < 0)
            return fail(err, errno, "open", dirs);
    }
    while (dirs.len && next_component(&rest, &part) > 0) {
        char name[NAME_MAX + 2];
        snprintf(name, sizeof name, "%.*s", STR_ARG(part));
        int fd = part.len > NAME_MAX ? -ENAMETOOLONG : open_level(t, t->dir, name, NULL);
        if (fd < 0) {
            leave_dir(t);
            return fail(err, -fd, "make directory", dirs);
        }
        close(t->dir);
        t->dir = fd;
    }
    buf_clear(&t->dir_path);
    buf_append_str(&t->dir_path, dirs);
    return 0;
}

static int make_dir(struct tar_tree *t, const struct tar_entry *e, struct err *err)
{
    if (!t->name) {
        t->uid = owner_of(t, e);
        t->gid = group_of(t, e);
        t->mode = mode_of(t, e);
        return 0;
    }
    _cleanup_close_ int fd = open_level(t, t->dir, t->name, e);
    return fd < 0 ? fail(err, -fd, "make directory", e->path) : 0;
}

/* ---- what comes whole ---- */

static void forget_temp(struct tar_tree *t)
{
    upload_journal_forget(t->slot);
    t->slot = -1;
    t->temp[0] = '\0';
}

/* The name to make something under: apart its own, as nobody is to see it before all is complete. */
static const char *begin_name(struct tar_tree *t)
{
    t->temp[0] = '\0';
    if (t->is_apart)
        return t->name;
    fresh_name(t->temp);
    struct str dirs = buf_str(&t->dir_path);
    _cleanup_free_ char *path = xasprintf("%s/%.*s/%s", t->path, STR_ARG(dirs), t->temp);
    t->slot = upload_journal_note(path);
    return t->temp;
}

static int end_name(struct tar_tree *t)
{
    if (!t->temp[0])
        return 0;
    int r = renameat(t->dir, t->temp, t->dir, t->name) < 0 ? -errno : 0;
    if (r < 0)
        unlinkat(t->dir, t->temp, 0);
    forget_temp(t);
    return r;
}

static void drop_name(struct tar_tree *t)
{
    if (t->temp[0])
        unlinkat(t->dir, t->temp, 0);
    forget_temp(t);
}

/* Runs make until it does not meet what an earlier entry of the archive left there. */
#define REPLACING(t, call)                                          \
    ({                                                              \
        int _r = (call) < 0 ? -errno : 0;                           \
        if (_r == -EEXIST && (t)->is_apart) {                       \
            _r = unlinkat((t)->dir, (t)->name, 0) < 0 ? -errno : 0; \
            _r = _r ? _r : (call) < 0 ? -errno : 0;                 \
        }                                                           \
        _r;                                                         \
    })

static int begin_file(struct tar_tree *t, const struct tar_entry *e, struct err *err)
{
    const char *name = begin_name(t);
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int r = REPLACING(t, t->file = openat(t->dir, name, flags, 0600));
    if (r < 0) {
        forget_temp(t);
        return fail(err, -r, "create", e->path);
    }
    return 0;
}

/* The link is given away by a descriptor of what was made, whatever has its name by then. */
static int make_symlink(struct tar_tree *t, const struct tar_entry *e, struct err *err)
{
    _cleanup_free_ char *target = xstrndup(e->link.p, e->link.len);
    const char *name = begin_name(t);
    struct stat st;
    int r = REPLACING(t, symlinkat(target, t->dir, name));
    if (r == 0) {
        _cleanup_close_ int fd = openat(t->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISLNK(st.st_mode) ||
            fchownat(fd, "", owner_of(t, e), group_of(t, e), AT_EMPTY_PATH) < 0)
            r = fd < 0 || errno ? -errno : -EIO;
    }
    if (r < 0)
        drop_name(t);
    else
        r = end_name(t);
    return r < 0 ? fail(err, -r, "make symlink", e->path) : 0;
}

/* A descriptor of a regular file of the tree, by O_PATH. */
static int find_file(struct tar_tree *t, struct str path, struct err *err)
{
    struct buf dirs;
    struct stat st;
    _cleanup_free_ char *name = NULL;
    buf_init(&dirs, TAR_PATH_MAX);
    int fd = -1, r = take_apart(path, &dirs, &name, err);
    struct str rest = buf_str(&dirs), part;
    int at = r == 0 ? fcntl(t->root, F_DUPFD_CLOEXEC, 0) : -1;
    while (at >= 0 && buf_len(&dirs) && next_component(&rest, &part) > 0) {
        char step[NAME_MAX + 2];
        snprintf(step, sizeof step, "%.*s", STR_ARG(part));
        int next = openat(at, step, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(at);
        at = next;
    }
    if (at >= 0 && name)
        fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    fd_closep(&at);
    buf_done(&dirs);
    if (r < 0)
        return r;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    fd_closep(&fd);
    return refuse(err, "a hard link to it, but it is no file of this tree", path);
}

static int make_hard_link(struct tar_tree *t, const struct tar_entry *e, struct err *err)
{
    _cleanup_close_ int fd = find_file(t, e->link, err);
    if (fd < 0)
        return -EINVAL;
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    const char *name = begin_name(t);
    int r = REPLACING(t, linkat(AT_FDCWD, self, t->dir, name, AT_SYMLINK_FOLLOW));
    if (r < 0)
        forget_temp(t);
    else
        r = end_name(t);
    /* rename(2) between two names of one file does nothing and leaves both. */
    return r < 0 ? fail(err, -r, "make hard link", e->path) : 0;
}

/* ---- entries ---- */

static int begin_entry(struct tar_tree *t, const struct tar_entry *e, struct err *err)
{
    if (e->type == TAR_CHAR_DEVICE || e->type == TAR_BLOCK_DEVICE || e->type == TAR_FIFO)
        return refuse(err, "a device or FIFO", e->path);
    if (e->type == TAR_DIR)
        return make_dir(t, e, err);
    if (!t->name)
        return refuse(err, "the tree itself, but no directory", e->path);
    if (e->type == TAR_SYMLINK)
        return make_symlink(t, e, err);
    if (e->type == TAR_HARD_LINK)
        return make_hard_link(t, e, err);
    return begin_file(t, e, err);
}

int tar_tree_begin(struct tar_tree *t, const struct tar_entry *e, struct err *err)
{
    struct buf dirs;
    buf_init(&dirs, TAR_PATH_MAX);
    free(t->name);
    t->name = NULL;
    t->entry = *e;
    t->entry.path = t->entry.link = (struct str){0};
    int r = take_apart(e->path, &dirs, &t->name, err);
    if (r == 0 && t->name && strlen(t->name) > NAME_MAX)
        r = fail(err, ENAMETOOLONG, "create", e->path);
    if (r == 0 && str_starts(str_from(t->name), STR(UPLOAD_TEMP_PREFIX)))
        r = refuse(err, "a name that uploads use for themselves", e->path);
    if (r == 0)
        r = enter(t, buf_str(&dirs), err);
    if (r == 0)
        r = begin_entry(t, e, err);
    buf_done(&dirs);
    t->entries += r == 0;
    return r;
}

int tar_tree_write(struct tar_tree *t, const char *p, size_t n, struct err *err)
{
    int r = fd_write_all(t->file, p, n);
    t->bytes += n;
    return r < 0 ? fail(err, -r, "write", str_from(t->name)) : 0;
}

static int set_times(const struct tar_tree *t)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = t->entry.mtime, .tv_nsec = t->entry.mtime_ns}};
    return futimens(t->file, times);
}

int tar_tree_end(struct tar_tree *t, struct err *err)
{
    if (t->file < 0)
        return 0;
    mode_t mode = mode_of(t, &t->entry);
    int r = fchown(t->file, owner_of(t, &t->entry), group_of(t, &t->entry)) < 0 ||
                    fchmod(t->file, mode) < 0 || set_times(t) < 0
                ? -errno
                : 0;
    bool was_hidden = t->temp[0];
    if (r < 0)
        drop_name(t);
    else
        r = end_name(t);
    /* For watchers, who were not shown the writing: the file is written now (upload.h). */
    if (r == 0 && was_hidden && ftruncate(t->file, (off_t)t->entry.size) == 0 &&
        set_times(t) == 0 && mode > 01777 && fchmod(t->file, mode) < 0)
        r = -errno;
    fd_closep(&t->file);
    return r < 0 ? fail(err, -r, "put in place", str_from(t->name)) : 0;
}

uint64_t tar_tree_entries(const struct tar_tree *t)
{
    return t->entries;
}

uint64_t tar_tree_bytes(const struct tar_tree *t)
{
    return t->bytes;
}

/* ---- the whole ---- */

static char *directory_of(const char *path)
{
    struct str dir = path_dir(str_from(path));
    return xstrndup(dir.p, dir.len);
}

static int open_apart(struct tar_tree *t, struct err *err)
{
    t->where = directory_of(t->path);
    while ((t->place = open(t->where, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
        if (errno != ENOENT || strcmp(t->where, "/") == 0)
            return fail(err, errno, "open directory of", str_from(t->path));
        char *above = directory_of(t->where);
        free(t->where);
        t->where = above;
    }
    fresh_name(t->apart);
    _cleanup_free_ char *path = path_join(t->where, t->apart);
    t->apart_slot = upload_journal_note(path);
    if (mkdirat(t->place, t->apart, 0700) < 0)
        return fail(err, errno, "make directory", str_from(t->path));
    t->root = openat(t->place, t->apart, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (t->root < 0)
        return fail(err, errno, "open directory", str_from(t->path));
    t->is_apart = true;
    t->uid = t->terms->uid;
    t->gid = t->terms->gid;
    t->mode = 0755;
    return 0;
}

static int open_target(struct tar_tree *t, struct err *err)
{
    struct stat st;
    struct str base = path_base(str_from(t->path));
    if (lstat(t->path, &st) < 0) {
        if (errno != ENOENT)
            return fail(err, errno, "open", str_from(t->path));
        if (str_eqz(base, ".") || str_eqz(base, ".."))
            return fail(err, ENOTDIR, "open", str_from(t->path));
        return open_apart(t, err);
    }
    if (t->terms->if_none_match)
        return err_set(err, ERR_PRECONDITION, 0, "'%s' is there", t->path);
    t->root = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->root < 0)
        return fail(err, errno == ENOENT ? ENOTDIR : errno, "open directory", str_from(t->path));
    return 0;
}

int tar_tree_open(const char *path, const struct upload_terms *terms, bool preserve,
                  struct tar_tree **ret, struct err *err)
{
    struct tar_tree *t = xcalloc(1, sizeof *t);
    t->terms = terms;
    t->preserve = preserve;
    t->root = t->place = t->dir = t->file = t->slot = t->apart_slot = -1;
    buf_init(&t->dir_path, TAR_PATH_MAX);
    t->path = xstrdup(path);
    for (size_t n = strlen(path); n > 1 && t->path[n - 1] == '/'; n--)
        t->path[n - 1] = '\0';
    int r = open_target(t, err);
    if (r < 0)
        tar_tree_free(t);
    else
        *ret = t;
    return r;
}

/* Moves what was made apart to its place. 0 or -errno. */
static int move_in(struct tar_tree *t)
{
    _cleanup_free_ char *parent = directory_of(t->path);
    struct str name = path_base(str_from(t->path));
    int r = tree_make_dirs(parent, t->terms->uid, t->terms->gid, NULL);
    if (r < 0)
        return r;
    _cleanup_close_ int at = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat made, moved;
    if (at < 0 || fchown(t->root, t->uid, t->gid) < 0 || fchmod(t->root, t->mode) < 0 ||
        renameat2(t->place, t->apart, at, name.p, RENAME_NOREPLACE) < 0 ||
        fstat(t->root, &made) < 0 || fstatat(at, name.p, &moved, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (made.st_ino != moved.st_ino || made.st_dev != moved.st_dev)
        return -ESTALE; /* somebody has put something else under its name */
    t->is_apart = false;
    return t->terms->sync && fsync(at) < 0 ? -errno : 0;
}

int tar_tree_commit(struct tar_tree *t, struct err *err)
{
    if (t->terms->sync && syncfs(t->root) < 0)
        return fail(err, errno, "write to disk", str_from(t->path));
    int r = t->is_apart ? move_in(t) : 0;
    if (r == -EEXIST)
        return err_set(err, ERR_CONFLICT, 0, "'%s' has appeared meanwhile", t->path);
    return r < 0 ? fail(err, -r, "put in place", str_from(t->path)) : 0;
}

void tar_tree_free(struct tar_tree *t)
{
    if (!t)
        return;
    drop_name(t);
    fd_closep(&t->file);
    fd_closep(&t->dir);
    if (t->is_apart) {
        tree_empty(t->root);
        unlinkat(t->place, t->apart, AT_REMOVEDIR);
    }
    upload_journal_forget(t->apart_slot);
    fd_closep(&t->root);
    fd_closep(&t->place);
    buf_done(&t->dir_path);
    free(t->where);
    free(t->path);
    free(t->name);
    free(t);
}
