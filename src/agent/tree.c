/* SPDX-License-Identifier: Apache-2.0 */
/* Making and removing directory trees. */
#include "agent/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

enum {
    LEVELS_MAX = 100,       /* directories open at once while removing */
    RETRIES_MAX = 16,       /* rounds over a directory that somebody keeps filling */
    QUICK_BYTES = 64 << 20, /* freeing more than this is not quick */
};

/* ---- making ---- */

/* One level, the parents are there. A directory cannot be hard-linked, so giving away what the
 * descriptor holds gives away no file, whatever was swapped in after mkdir. */
static int make_level(const char *path, uid_t uid, gid_t gid)
{
    if (mkdir(path, 0755) < 0)
        return errno == EEXIST ? 0 : -errno;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fchown(fd, uid, gid) < 0)
        return -errno;
    return 0;
}

int tree_make_dirs(const char *path, uid_t uid, gid_t gid, struct err *err)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        return err_set(err, ERR_INVALID, ENOTDIR, "make directory '%s'", path);
    }
    _cleanup_free_ char *copy = xstrdup(path);
    int r = 0;
    for (char *p = copy + 1; r == 0; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char kept = *p;
        *p = '\0';
        r = make_level(copy, uid, gid);
        *p = kept;
        if (kept == '\0')
            break;
    }
    if (r == 0 && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
        r = -ENOTDIR;
    if (r == -ENOTDIR)
        return err_set(err, ERR_INVALID, ENOTDIR, "make directory '%s'", path);
    return r == 0 ? 0 : err_os(err, -r, "make directory '%s'", path);
}

int tree_make_parents(const char *path, uid_t uid, gid_t gid, struct err *err)
{
    struct str dir = path_dir(str_from(path));
    _cleanup_free_ char *copy = xstrndup(dir.p, dir.len);
    return tree_make_dirs(copy, uid, gid, err);
}

/* ---- removing ---- */

struct level {
    DIR *dir;
    char *name; /* in the level below this one on the stack */
    int retries;
    bool deferred; /* a subtree was moved to the bottom level: that one is read again */
};

struct removal {
    struct level levels[LEVELS_MAX];
    int depth;
    unsigned moved;
};

static int level_fd(struct removal *r, int i)
{
    return dirfd(r->levels[i].dir);
}

static int push(struct removal *r, int at, const char *name)
{
    _cleanup_close_ int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (!dir)
        return -errno;
    TAKE_FD(fd);
    r->levels[r->depth++] = (struct level){.dir = dir, .name = xstrdup(name)};
    return 0;
}

static void pop(struct removal *r)
{
    struct level *top = &r->levels[--r->depth];
    closedir(top->dir);
    free(top->name);
}

/* The stack is full: moves the directory into the bottom one, which is emptied again later. That
 * keeps the descriptors few without trusting `..`. */
static int move_down(struct removal *r, int at, const char *name)
{
    char fresh[64];
    snprintf(fresh, sizeof fresh, ".carrel-remove-%d-%u", (int)getpid(), r->moved++);
    if (renameat2(at, name, level_fd(r, 0), fresh, RENAME_NOREPLACE) < 0)
        return -errno;
    r->levels[0].deferred = true;
    return 0;
}

/* Removes an entry of the top level, or pushes it when it is a directory. */
static int remove_entry(struct removal *r, const char *name, bool maybe_dir)
{
    int at = level_fd(r, r->depth - 1);
    if (!maybe_dir) {
        if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
            return 0;
        if (errno != EISDIR && errno != EPERM)
            return -errno;
    }
    int result = r->depth == LEVELS_MAX ? move_down(r, at, name) : push(r, at, name);
    if (result == -ENOTDIR || result == -ELOOP) /* a file after all, or a link by now */
        result = unlinkat(at, name, 0) < 0 ? -errno : 0;
    return result == -ENOENT ? 0 : result;
}

/* The top level is read to its end: removes it from the one below. 1: it must be read again. */
static int finish_level(struct removal *r)
{
    struct level *top = &r->levels[r->depth - 1];
    if (r->depth == 1)
        return top->deferred || 0;
    if (unlinkat(level_fd(r, r->depth - 2), top->name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        pop(r);
        return 0;
    }
    if ((errno == ENOTEMPTY || errno == EEXIST) && top->retries++ < RETRIES_MAX)
        return 1;
    return -errno;
}

/* Empties levels[0]. */
static int empty_tree(struct removal *r)
{
    for (;;) {
        struct level *top = &r->levels[r->depth - 1];
        errno = 0;
        struct dirent *entry = readdir(top->dir);
        int result = 0;
        if (entry) {
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            bool maybe_dir = entry->d_type == DT_DIR;
            result = remove_entry(r, entry->d_name, maybe_dir);
        } else if (errno && errno != ENOENT) {
            result = -errno;
        } else {
            int bottom = r->depth == 1;
            result = finish_level(r);
            if (result == 1) {
                top->deferred = false;
                rewinddir(top->dir);
                continue;
            }
            if (bottom)
                return result;
        }
        if (result < 0)
            return result;
    }
}

static int remove_dir(int parent, const char *name)
{
    struct removal *r = xcalloc(1, sizeof *r);
    int result = 0;
    for (int round = 0; round < RETRIES_MAX; round++) {
        result = push(r, parent, name);
        if (result == 0)
            result = empty_tree(r);
        while (r->depth)
            pop(r);
        if (result == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0)
            result = -errno;
        if (result != -ENOTEMPTY && result != -EEXIST)
            break;
    }
    free(r);
    return result;
}

int tree_empty(int dir)
{
    struct removal *r = xcalloc(1, sizeof *r);
    int result = push(r, dir, ".");
    if (result == 0)
        result = empty_tree(r);
    while (r->depth)
        pop(r);
    free(r);
    return result;
}

int tree_remove(const char *path, struct err *err)
{
    struct str base = path_base(str_from(path)), dir = path_dir(str_from(path));
    if (base.len == 0 || str_eqz(base, "/") || str_eqz(base, ".") || str_eqz(base, ".."))
        return err_set(err, ERR_INVALID, 0, "remove '%s': not the name of an entry", path);
    _cleanup_free_ char *parent = xstrndup(dir.p, dir.len), *name = xstrndup(base.p, base.len);
    _cleanup_close_ int at = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = at < 0 || unlinkat(at, name, 0) < 0 ? -errno : 0;
    if (at >= 0 && (r == -EISDIR || r == -EPERM)) {
        int as_dir = remove_dir(at, name);
        r = as_dir == -ENOTDIR ? r : as_dir;
    }
    if (r == -ENOENT)
        return 0;
    return r == 0 ? 0 : err_set(err, ERR_INTERNAL, -r, "remove '%s'", path);
}

bool tree_remove_is_quick(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return true;
    return !S_ISDIR(st.st_mode) && st.st_size < QUICK_BYTES;
}
