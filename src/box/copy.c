/* SPDX-License-Identifier: Apache-2.0 */
/* Copying hostile trees. */
#include "box/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

enum {
    LIST_MAX = 64 * 1024, /* names of attributes, and one value: what the kernel allows */
    CHUNK = 64 << 20,     /* between two looks at stop */
    NAME_SIZE = 256,
};

/* A file with several names, met before. */
struct linked {
    dev_t dev;
    ino_t ino;
    char *path; /* of its copy, below the copy's root */
};

struct copy {
    const atomic_bool *stop;
    struct err *err;
    struct copy_result result;
    int root; /* of the copy */
    void *links; /* tree of struct linked */
    size_t link_count;
    bool shares; /* the file system shares blocks, as far as is known */
    char *path;  /* of the directory being filled, "" at first */
    char names[LIST_MAX];
    char value[LIST_MAX];
};

static int fail(struct copy *c, int os, const char *doing, const char *name)
{
    return err_os(c->err, os, "copy %s/%.64s: %s", c->path, name, doing);
}

static int open_at(int at, const char *name, int flags)
{
    struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC | O_NOFOLLOW,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    int fd = (int)syscall(SYS_openat2, at, name, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

/* ---- attributes ---- */

/* Of the entry `name` in a directory, or of the directory itself; by path through /proc, since
 * fsetxattr takes no O_PATH descriptor and links and devices cannot be opened otherwise. */
struct place {
    char path[NAME_SIZE + 32];
};

static struct place place_of(int dir, const char *name)
{
    struct place place;
    snprintf(place.path, sizeof place.path, "/proc/self/fd/%d/%s", dir, name);
    return place;
}

/* What ties a copied-up file to the place it came from means nothing in a copy: the kernel would look
 * for its index entry. Whiteouts, opaque directories and redirects are the content. */
static bool is_for_the_original_only(const char *name)
{
    static const char *const names[] = {"trusted.overlay.origin", "trusted.overlay.nlink",
                                        "trusted.overlay.upper", "trusted.overlay.impure",
                                        "trusted.overlay.uuid"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int copy_attributes(struct copy *c, const struct place *from, const struct place *to,
                           const char *name)
{
    ssize_t n = llistxattr(from->path, c->names, sizeof c->names);
    if (n < 0)
        return errno == ENOTSUP ? 0 : fail(c, errno, "list attributes", name);
    for (const char *attr = c->names; attr < c->names + n; attr += strlen(attr) + 1) {
        if (is_for_the_original_only(attr))
            continue;
        ssize_t size = lgetxattr(from->path, attr, c->value, sizeof c->value);
        if (size < 0)
            return fail(c, errno, "read an attribute", name);
        if (lsetxattr(to->path, attr, c->value, (size_t)size, 0) < 0)
            return fail(c, errno, "write an attribute", name);
    }
    return 0;
}

/* Owner first: the change of owner takes setuid bits and capabilities away. */
static int copy_status(struct copy *c, int from, int to, const char *name, const struct stat *st)
{
    const struct place source = place_of(from, name), target = place_of(to, name);
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(c, errno, "set its owner", name);
    int rc = copy_attributes(c, &source, &target, name);
    if (rc < 0)
        return rc;
    if (!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) < 0)
        return fail(c, errno, "set its mode", name);
    if (utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(c, errno, "set its times", name);
    return 0;
}

/* ---- files ---- */

static int copy_range(struct copy *c, int from, int to, off_t at, off_t end, const char *name)
{
    while (at < end) {
        size_t want = end - at > CHUNK ? (size_t)CHUNK : (size_t)(end - at);
        loff_t in = at, out = at;
        if (*c->stop)
            return err_set(c->err, ERR_CANCELED, 0, "the copy is not wanted any more");
        ssize_t n = copy_file_range(from, &in, to, &out, want, 0);
        if (n < 0 && errno == EXDEV) /* out of a merged view */
            n = lseek(to, at, SEEK_SET) < 0 ? -1 : sendfile(to, from, &in, want);
        if (n < 0)
            return fail(c, errno, "copy its content", name);
        if (n == 0)
            break;
        at += n;
    }
    return 0;
}

static int copy_content(struct copy *c, int from, int to, off_t size, const char *name)
{
    if (c->shares && size > 0) {
        if (ioctl(to, FICLONE, from) == 0)
            return 0;
        c->shares = false;
    }
    if (ftruncate(to, size) < 0)
        return fail(c, errno, "set its size", name);
    for (off_t at = 0, hole; at < size; at = hole) {
        at = lseek(from, at, SEEK_DATA);
        if (at < 0)
            return errno == ENXIO ? 0 : fail(c, errno, "find its data", name);
        hole = lseek(from, at, SEEK_HOLE);
        if (hole < 0)
            return fail(c, errno, "find its holes", name);
        int rc = copy_range(c, from, to, at, hole, name);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int copy_file(struct copy *c, int from, int to, const char *name, const struct stat *st)
{
    _cleanup_close_ int in = open_at(from, name, O_RDONLY | O_NOATIME | O_NONBLOCK);
    if (in < 0)
        return fail(c, -in, "open it", name);
    _cleanup_close_ int out =
        openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out < 0)
        return fail(c, errno, "make it", name);
    return copy_content(c, in, out, st->st_size, name);
}

static int copy_link(struct copy *c, int from, int to, const char *name)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(from, name, target, sizeof target - 1);
    if (n < 0)
        return fail(c, errno, "read the link", name);
    target[n] = '\0';
    return symlinkat(target, to, name) < 0 ? fail(c, errno, "make the link", name) : 0;
}

/* ---- names of one file ---- */

static int compare_links(const void *a, const void *b)
{
    const struct linked *x = a, *y = b;
    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void free_link(void *node)
{
    struct linked *linked = node;
    free(linked->path);
    free(linked);
}

/* 1 when name is now another name of a file copied before, 0 when it is the first, or negative. */
static int link_again(struct copy *c, int to, const char *name, const struct stat *st)
{
    struct linked key = {.dev = st->st_dev, .ino = st->st_ino};
    struct linked *const *found = tfind(&key, &c->links, compare_links);
    if (found) {
        /* Paths of any depth: a hard link is made through the directory's descriptor. */
        if (linkat(c->root, (*found)->path, to, name, 0) < 0)
            return fail(c, errno, "link it", name);
        return 1;
    }
    if (c->link_count++ >= COPY_LINKS_MAX)
        return err_set(c->err, ERR_EXHAUSTED, 0, "copy: more than %d files with several names",
                       COPY_LINKS_MAX);
    struct linked *linked = xcalloc(1, sizeof *linked);
    linked->dev = st->st_dev;
    linked->ino = st->st_ino;
    linked->path = *c->path ? xasprintf("%s/%s", c->path + 1, name) : xstrdup(name);
    if (!tsearch(linked, &c->links, compare_links))
        abort();
    return 0;
}

/* ---- directories ---- */

static int copy_entries(struct copy *c, int from, int to, int depth);

static int copy_directory(struct copy *c, int from, int to, const char *name, int depth)
{
    if (depth >= COPY_DEPTH_MAX)
        return err_set(c->err, ERR_EXHAUSTED, ELOOP, "copy: directories nest deeper than %d",
                       COPY_DEPTH_MAX);
    _cleanup_close_ int in = open_at(from, name, O_RDONLY | O_DIRECTORY | O_NOATIME);
    if (in < 0)
        return fail(c, -in, "open it", name);
    if (mkdirat(to, name, 0700) < 0)
        return fail(c, errno, "make it", name);
    _cleanup_close_ int out = open_at(to, name, O_RDONLY | O_DIRECTORY);
    if (out < 0)
        return fail(c, -out, "open the copy", name);
    char *before = c->path;
    c->path = xasprintf("%s/%s", before, name);
    int rc = copy_entries(c, in, out, depth + 1);
    free(c->path);
    c->path = before;
    return rc;
}

static int copy_entry(struct copy *c, int from, int to, const char *name, int depth)
{
    struct stat st;
    int rc;
    if (*c->stop)
        return err_set(c->err, ERR_CANCELED, 0, "the copy is not wanted any more");
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(c, errno, "look at it", name);
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && (rc = link_again(c, to, name, &st)) != 0)
        return rc < 0 ? rc : 0;
    c->result.entries++;
    c->result.bytes += (uint64_t)st.st_blocks * 512;
    if (S_ISDIR(st.st_mode))
        rc = copy_directory(c, from, to, name, depth);
    else if (S_ISREG(st.st_mode))
        rc = copy_file(c, from, to, name, &st);
    else if (S_ISLNK(st.st_mode))
        rc = copy_link(c, from, to, name);
    else /* whiteouts are devices 0:0; a sandbox can make no others */
        rc = mknodat(to, name, st.st_mode, st.st_rdev) < 0 ? fail(c, errno, "make it", name) : 0;
    return rc < 0 ? rc : copy_status(c, from, to, name, &st);
}

static int copy_entries(struct copy *c, int from, int to, int depth)
{
    int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* with a position of its own */
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    int rc = 0;
    if (!stream) {
        rc = fail(c, errno, "read it", "");
        fd_closep(&fd);
        return rc;
    }
    for (struct dirent *entry; rc == 0 && (errno = 0, entry = readdir(stream));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = copy_entry(c, from, to, entry->d_name, depth);
    if (rc == 0 && errno)
        rc = fail(c, errno, "read it", "");
    closedir(stream);
    return rc;
}

int copy_tree(int from, int to, const char *name, const atomic_bool *stop, struct copy_result *ret,
              struct err *err)
{
    struct copy *c = xcalloc(1, sizeof *c);
    char root[] = "";
    struct stat st;
    c->stop = stop;
    c->err = err;
    c->shares = true;
    c->path = root;
    c->root = -1;
    int rc = fstat(from, &st) < 0 ? fail(c, errno, "look at it", name) : 0;
    if (rc == 0 && mkdirat(to, name, 0700) < 0)
        rc = fail(c, errno, "make it", name);
    if (rc == 0) {
        c->root = open_at(to, name, O_RDONLY | O_DIRECTORY);
        rc = c->root < 0 ? fail(c, -c->root, "open the copy", name) : 0;
    }
    if (rc == 0)
        rc = copy_entries(c, from, c->root, 0);
    if (rc == 0)
        rc = copy_status(c, from, c->root, ".", &st);
    fd_closep(&c->root);
    tdestroy(c->links, free_link);
    if (rc == 0)
        *ret = c->result;
    free(c);
    return rc;
}
