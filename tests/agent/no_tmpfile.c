/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into the agent: file systems without O_TMPFILE, as overlayfs before Linux 6.1. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = va_arg(args, unsigned);
    va_end(args);
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    int (*next)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat");
    return next(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...) __attribute__((alias("openat")));
