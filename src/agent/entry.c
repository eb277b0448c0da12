/* SPDX-License-Identifier: Apache-2.0 */
/* EntryInfo of one directory entry. */
#include "agent/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "agent/metadata.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "base/path.h"

void entry_permissions(mode_t mode, char out[ENTRY_PERMISSIONS_SIZE])
{
    /* Go's letters in Go's order: d a l T L D p S u g c t. */
    char *p = out;
    mode_t kind = mode & S_IFMT;
    if (kind == S_IFDIR)
        *p++ = 'd';
    if (kind == S_IFLNK)
        *p++ = 'L';
    if (kind == S_IFBLK || kind == S_IFCHR)
        *p++ = 'D';
    if (kind == S_IFIFO)
        *p++ = 'p';
    if (kind == S_IFSOCK)
        *p++ = 'S';
    if (mode & S_ISUID)
        *p++ = 'u';
    if (mode & S_ISGID)
        *p++ = 'g';
    if (kind == S_IFCHR)
        *p++ = 'c';
    if (mode & S_ISVTX)
        *p++ = 't';
    if (p == out)
        *p++ = '-';
    for (int bit = 8; bit >= 0; bit--)
        *p++ = mode & (1u << bit) ? "xwr"[bit % 3] : '-';
    *p = '\0';
}

struct link {
    mode_t target; /* mode of what it leads to, 0 if broken */
    char path[PATH_MAX];
};

/* O_PATH reaches any kind of file without opening it, and the kernel knows where it ended. */
static void resolve_link(int dir, const char *at, const char *path, struct link *ret)
{
    struct stat st;
    char self[40];
    _cleanup_close_ int fd = openat(dir, at, O_PATH | O_CLOEXEC);
    ret->target = 0;
    if (fd >= 0 && fstat(fd, &st) == 0)
        ret->target = st.st_mode;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t n = fd >= 0 ? readlink(self, ret->path, sizeof ret->path - 1) : -1;
    if (n > 0 && ret->path[0] == '/')
        ret->path[n] = '\0';
    else
        snprintf(ret->path, sizeof ret->path, "%s", path);
}

static int put_text(struct buf *out, const char *key, struct str value)
{
    int r = buf_append_z(out, key);
    return r == 0 ? json_text_append(out, value) : r;
}

static int put_time(struct buf *out, const struct timespec *t)
{
    char text[CLOCK_TEXT_SIZE];
    long ns = t->tv_nsec;
    int digits = ns == 0 ? 0 : ns % 1000000 == 0 ? 3 : ns % 1000 == 0 ? 6 : 9;
    clock_format((int64_t)t->tv_sec * CLOCK_S + ns, digits, text);
    return buf_printf(out, ",\"modifiedTime\":\"%s\"", text);
}

static int put_numbers(struct buf *out, mode_t kind, const struct stat *st)
{
    char permissions[ENTRY_PERMISSIONS_SIZE];
    int r = 0;
    if (st->st_size > 0)
        r = buf_printf(out, ",\"size\":\"%lld\"", (long long)st->st_size);
    if (r == 0 && kind & 0777)
        r = buf_printf(out, ",\"mode\":%u", kind & 0777);
    entry_permissions(st->st_mode, permissions);
    return r == 0 ? buf_printf(out, ",\"permissions\":\"%s\"", permissions) : r;
}

int entry_append(struct buf *out, struct owners *owners, int dir, const char *at, const char *path,
                 struct stat *ret_st)
{
    struct stat st;
    struct link link;
    if (fstatat(dir, at, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    mode_t kind = st.st_mode;
    if (S_ISLNK(kind)) {
        resolve_link(dir, at, path, &link);
        kind = link.target;
    }
    int r = put_text(out, "{\"name\":", path_base(str_from(path)));
    if (r == 0 && (S_ISREG(kind) || S_ISDIR(kind)))
        r = buf_append_z(out, S_ISREG(kind) ? ",\"type\":\"FILE_TYPE_FILE\""
                                            : ",\"type\":\"FILE_TYPE_DIRECTORY\"");
    if (r == 0)
        r = put_text(out, ",\"path\":", str_from(path));
    if (r == 0)
        r = put_numbers(out, kind, &st);
    if (r == 0)
        r = put_text(out, ",\"owner\":", str_from(owners_user(owners, st.st_uid)));
    if (r == 0)
        r = put_text(out, ",\"group\":", str_from(owners_group(owners, st.st_gid)));
    if (r == 0)
        r = put_time(out, &st.st_mtim);
    if (r == 0 && S_ISLNK(st.st_mode))
        r = put_text(out, ",\"isSymlink\":true,\"symlinkTarget\":", str_from(link.path));
    if (r == 0)
        r = metadata_append_file(out, path);
    if (r == 0)
        r = buf_append_char(out, '}');
    if (ret_st)
        *ret_st = st;
    return r;
}
