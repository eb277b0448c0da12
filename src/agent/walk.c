/* SPDX-License-Identifier: Apache-2.0 */
/* Directory trees, entry by entry. */
#include "agent/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "agent/entry.h"
#include "agent/owners.h"
#include "base/fd.h"
#include "base/mem.h"

enum {
    OPEN_MAX = 64,         /* levels with an open descriptor; above them it is got back by `..` */
    NAMES_MAX = 256 << 20, /* bytes of one directory's names */
};

struct level {
    DIR *dir;         /* while names are being read: owns fd */
    int fd;           /* -1: closed for now */
    struct buf names; /* NUL-terminated, in the order read */
    uint32_t *order;  /* offsets into names, sorted when reading is over */
    size_t count, room, next;
    size_t path_len; /* of this directory's path in walk.path */
};

struct walk {
    struct owners owners;
    struct buf path;
    struct level *levels;
    size_t depth, levels_room;
    uint32_t max_depth;
    bool wrote; /* an entry has been written: a comma comes next */
};

static struct level *top_level(struct walk *w)
{
    return &w->levels[w->depth - 1];
}

static void close_level(struct level *level)
{
    if (level->dir)
        closedir(level->dir);
    else
        fd_closep(&level->fd);
    level->dir = NULL;
    level->fd = -1;
}

/* Enters a directory. flags: O_NOFOLLOW except for the root. 0 or -errno. */
static int push(struct walk *w, int at, const char *name, int flags)
{
    _cleanup_close_ int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (!dir)
        return -errno;
    if (w->depth == w->levels_room) {
        w->levels_room = w->levels_room ? w->levels_room * 2 : 4;
        w->levels = xrealloc(w->levels, w->levels_room * sizeof *w->levels);
    }
    if (w->depth >= OPEN_MAX)
        close_level(&w->levels[w->depth - OPEN_MAX]);
    w->levels[w->depth++] =
        (struct level){.dir = dir, .fd = TAKE_FD(fd), .path_len = buf_len(&w->path)};
    buf_init(&top_level(w)->names, NAMES_MAX);
    return 0;
}

static void pop(struct walk *w)
{
    struct level *top = top_level(w);
    if (w->depth > 1) {
        struct level *parent = top - 1;
        if (parent->fd < 0 && parent->next < parent->count)
            parent->fd = openat(top->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        buf_truncate(&w->path, parent->path_len);
    }
    close_level(top);
    buf_done(&top->names);
    free(top->order);
    w->depth--;
}

int walk_open(const char *path, uint32_t depth, struct walk **ret, struct err *err)
{
    struct walk *w = xcalloc(1, sizeof *w);
    w->max_depth = depth;
    buf_init(&w->path, 64 << 20);
    buf_append_z(&w->path, path);
    owners_refresh(&w->owners);
    int r = push(w, AT_FDCWD, path, 0);
    if (r == 0) {
        *ret = w;
        return 0;
    }
    walk_free(w);
    if (r == -ENOENT)
        return err_set(err, ERR_NOT_FOUND, 0, "directory not found: %s", path);
    if (r == -ENOTDIR)
        return err_set(err, ERR_INVALID, 0, "path is not a directory: %s", path);
    if (r == -ELOOP)
        return err_set(err, ERR_PRECONDITION, -r, "cyclic symlink or chain longer than 40 at '%s'",
                       path);
    return err_set(err, ERR_INTERNAL, -r, "list directory '%s'", path);
}

/* ---- names ---- */

static int compare(const void *a, const void *b, void *names)
{
    const char *base = names;
    return strcmp(base + *(const uint32_t *)a, base + *(const uint32_t *)b);
}

static int add_name(struct level *level, const char *name)
{
    if (level->count == level->room) {
        level->room = level->room ? level->room * 2 : 64;
        level->order = xrealloc(level->order, level->room * sizeof *level->order);
    }
    level->order[level->count++] = (uint32_t)buf_len(&level->names);
    return buf_append(&level->names, name, strlen(name) + 1);
}

/* The directory's descriptor stays, the stream over it goes. */
static int end_reading(struct level *level)
{
    int fd = fcntl(level->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    closedir(level->dir);
    level->dir = NULL;
    level->fd = fd;
    if (level->count)
        qsort_r(level->order, level->count, sizeof *level->order, compare, level->names.data);
    return 0;
}

static int read_names(struct level *level, unsigned *budget)
{
    while (*budget) {
        errno = 0;
        struct dirent *entry = readdir(level->dir);
        if (!entry)
            return errno && errno != ENOENT && errno != ESRCH ? -errno : end_reading(level);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        --*budget;
        if (add_name(level, entry->d_name) < 0)
            return -ENOBUFS;
    }
    return 0;
}

/* ---- entries ---- */

int walk_next(struct walk *w, unsigned *budget, struct walk_entry *ret)
{
    for (; w->depth && *budget; --*budget) {
        struct level *level = top_level(w);
        if (level->dir) {
            int r = read_names(level, budget);
            if (r < 0)
                return r;
            if (*budget == 0)
                break;
            continue;
        }
        buf_truncate(&w->path, level->path_len);
        if (level->next == level->count || level->fd < 0) {
            pop(w);
            continue;
        }
        const char *name = buf_ptr(&level->names) + level->order[level->next++];
        struct str so_far = buf_str(&w->path);
        if (((so_far.len == 0 || so_far.p[so_far.len - 1] != '/') &&
             buf_append_char(&w->path, '/') < 0) ||
            buf_append_z(&w->path, name) < 0)
            return -ENAMETOOLONG;
        --*budget;
        *ret = (struct walk_entry){level->fd, name, buf_cstr(&w->path)};
        return 1;
    }
    return w->depth ? -EAGAIN : 0;
}

/* Gone, swapped for something else, or forbidden even to us (parts of /proc): passed over. Only our own
 * limits end the walk. */
static int heed(int r)
{
    return r == -ENOBUFS || r == -EMFILE || r == -ENFILE || r == -ENOMEM ? r : 0;
}

int walk_enter(struct walk *w)
{
    struct level *level = top_level(w);
    const char *name = buf_ptr(&level->names) + level->order[level->next - 1];
    return w->depth < w->max_depth ? heed(push(w, level->fd, name, O_NOFOLLOW)) : 0;
}

const char *walk_path(struct walk *w)
{
    return buf_cstr(&w->path);
}

int walk_root(const struct walk *w)
{
    return w->levels[0].fd;
}

static int write_entry(struct walk *w, struct buf *out, const struct walk_entry *entry)
{
    struct stat st;
    size_t before = buf_len(out);
    if (w->wrote && buf_append_char(out, ',') < 0)
        return -ENOBUFS;
    int r = entry_append(out, &w->owners, entry->dir, entry->name, entry->path, &st);
    if (r < 0) {
        buf_truncate(out, before);
        return heed(r);
    }
    w->wrote = true;
    return S_ISDIR(st.st_mode) ? walk_enter(w) : 0;
}

int walk_step(struct walk *w, struct buf *out, unsigned budget, size_t room, struct err *err)
{
    size_t start = buf_len(out);
    struct walk_entry entry;
    int r = 1;
    while (r > 0 && buf_len(out) - start < room && (r = walk_next(w, &budget, &entry)) > 0)
        r = write_entry(w, out, &entry) < 0 ? -ENOMEM : 1;
    if (r < 0 && r != -EAGAIN)
        return err_set(err, ERR_INTERNAL, -r, "list directory '%s'", walk_path(w));
    return r != 0;
}

void walk_free(struct walk *w)
{
    if (!w)
        return;
    while (w->depth)
        pop(w);
    free(w->levels);
    buf_done(&w->path);
    owners_done(&w->owners);
    free(w);
}
