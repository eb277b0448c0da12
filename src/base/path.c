/* SPDX-License-Identifier: Apache-2.0 */
/* Path text. */
#include "base/path.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/mem.h"

char *path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    return xasprintf("%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
}

static struct str without_trailing_slashes(struct str path)
{
    while (path.len > 1 && path.p[path.len - 1] == '/')
        path.len--;
    return path;
}

struct str path_base(struct str path)
{
    path = without_trailing_slashes(path);
    if (path.len == 1 && path.p[0] == '/')
        return path;
    size_t start = path.len;
    while (start && path.p[start - 1] != '/')
        start--;
    return (struct str){path.p + start, path.len - start};
}

struct str path_dir(struct str path)
{
    path = without_trailing_slashes(path);
    while (path.len && path.p[path.len - 1] != '/')
        path.len--;
    if (path.len == 0)
        return STR(".");
    return without_trailing_slashes(path);
}

int path_make_dirs(const char *path, unsigned mode)
{
    _cleanup_free_ char *copy = xstrdup(path);
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char kept = *p;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return -errno;
        if (kept == '\0')
            return 0;
        *p = kept;
    }
}
