/* SPDX-License-Identifier: Apache-2.0 */
/* Room on the target's file system. */
#include "agent/disk_space.h"

#include <string.h>
#include <sys/statvfs.h>

#include "base/mem.h"

enum { LOOK_MIN = 16 << 20 };

bool disk_space_lacks(const char *path, int64_t length, struct err *err)
{
    struct statvfs fs;
    if (length < LOOK_MIN || !path)
        return false;
    _cleanup_free_ char *dir = xstrdup(path);
    for (char *slash; statvfs(dir, &fs) < 0; *slash = '\0')
        if (!(slash = strrchr(dir, '/')) || slash == dir)
            return false;
    if ((uint64_t)length <= (uint64_t)fs.f_bavail * fs.f_frsize)
        return false;
    err_set(err, ERR_NO_SPACE, 0, "not enough disk space available: %lld bytes required",
            (long long)length);
    return true;
}
