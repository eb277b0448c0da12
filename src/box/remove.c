/* SPDX-License-Identifier: Apache-2.0 */
/* Removing and measuring hostile trees. */
#include "box/remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

/* Deeper levels are moved up next to the tree's root first: descriptors and stack stay bounded
 * however deep a sandbox nested its directories. */
enum { DEPTH_MAX = 48 };

struct removal {
    int top; /* the root of the tree */
    unsigned long moved;
    int rc; /* first failure */
};

static void failed(struct removal *r, int os)
{
    if (r->rc == 0)
        r->rc = -os;
}

static int open_dir(int at, const char *name)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW | O_NOATIME,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                      RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    int fd = (int)syscall(SYS_openat2, at, name, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

static bool is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static void empty_dir(struct removal *r, int dir, int depth);

static void move_up(struct removal *r, int parent, const char *name)
{
    char up[40];
    do
        snprintf(up, sizeof up, ".removing-%lu", r->moved++);
    while (renameat2(parent, name, r->top, up, RENAME_NOREPLACE) < 0 && errno == EEXIST);
    if (faccessat(parent, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        failed(r, ELOOP);
}

static void remove_dir(struct removal *r, int parent, const char *name, int depth)
{
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return;
    if (errno != ENOTEMPTY && errno != EEXIST) {
        failed(r, errno);
        return;
    }
    if (depth >= DEPTH_MAX) {
        move_up(r, parent, name);
        return;
    }
    int fd = open_dir(parent, name);
    if (fd < 0) {
        failed(r, -fd);
        return;
    }
    empty_dir(r, fd, depth + 1);
    if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT && r->rc == 0)
        failed(r, errno);
}

/* Takes dir over. */
static void empty_dir(struct removal *r, int dir, int depth)
{
    DIR *stream = fdopendir(dir);
    if (!stream) {
        failed(r, errno);
        close(dir);
        return;
    }
    for (struct dirent *entry; (entry = readdir(stream));) {
        if (is_dot(entry->d_name))
            continue;
        if (entry->d_type == DT_DIR)
            remove_dir(r, dir, entry->d_name, depth);
        else if (unlinkat(dir, entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        else if (errno == EISDIR)
            remove_dir(r, dir, entry->d_name, depth);
        else
            failed(r, errno);
    }
    closedir(stream);
}

int remove_tree(int parent, const char *name)
{
    struct removal r = {0};
    unsigned long moved;
    do {
        int top = open_dir(parent, name);
        if (top == -ENOENT)
            return 0;
        if (top == -ENOTDIR || top == -ELOOP)
            return unlinkat(parent, name, 0) < 0 && errno != ENOENT ? -errno : 0;
        if (top < 0)
            return top;
        moved = r.moved;
        r.top = fcntl(top, F_DUPFD_CLOEXEC, 3);
        r.rc = 0;
        empty_dir(&r, top, 0);
        close(r.top);
        /* Directories that were moved up: another round, each one DEPTH_MAX levels shorter. */
    } while (r.rc == 0 && r.moved != moved);
    if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return r.rc ? r.rc : -errno;
    return r.rc;
}

static int measure_dir(int dir, int depth, uint64_t *bytes)
{
    DIR *stream = fdopendir(dir);
    if (!stream) {
        int rc = -errno;
        close(dir);
        return rc;
    }
    for (struct dirent *entry; (entry = readdir(stream));) {
        struct stat st;
        if (is_dot(entry->d_name) || fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        /* Each name of a file with many counts for its part of it. */
        uint64_t names = S_ISDIR(st.st_mode) || st.st_nlink == 0 ? 1 : st.st_nlink;
        *bytes += (uint64_t)st.st_blocks * 512 / names;
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
            int sub = open_dir(dir, entry->d_name);
            if (sub >= 0)
                measure_dir(sub, depth + 1, bytes);
        }
    }
    closedir(stream);
    return 0;
}

int remove_measure(int parent, const char *name, uint64_t *ret_bytes)
{
    int dir = open_dir(parent, name);
    if (dir < 0)
        return dir;
    uint64_t bytes = 0;
    int rc = measure_dir(dir, 0, &bytes);
    if (rc == 0)
        *ret_bytes = bytes;
    return rc;
}
