/* SPDX-License-Identifier: Apache-2.0 */
/* The error value and its translations. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *connect;
    int http;
    int exit;
    int os;
} codes[] = {
#define X(code, connect, http, exit, os) [code] = {connect, http, exit, os},
    ERR_CODES(X)
#undef X
};

static int fill(struct err *err, enum err_code code, int os, const char *fmt, va_list args)
{
    if (err) {
        err->code = code;
        err->os = os;
        int n = vsnprintf(err->message, sizeof err->message, fmt, args);
        if (os && n >= 0 && (size_t)n < sizeof err->message)
            snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", strerror(os));
    }
    return os ? -os : -codes[code].os;
}

int err_set(struct err *err, enum err_code code, int os, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int result = fill(err, code, os, fmt, args);
    va_end(args);
    return result;
}

int err_os(struct err *err, int os, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int result = fill(err, err_code_from_os(os), os, fmt, args);
    va_end(args);
    return result;
}

int err_wrap(struct err *err, const char *context)
{
    if (!err)
        return -EIO;
    char old[sizeof err->message];
    memcpy(old, err->message, sizeof old);
    int n = snprintf(err->message, sizeof err->message, "%s: ", context);
    if (n >= 0 && (size_t)n < sizeof err->message)
        snprintf(err->message + n, sizeof err->message - (size_t)n, "%.*s",
                 (int)(sizeof err->message - (size_t)n - 1), old);
    return err->os ? -err->os : -codes[err->code].os;
}

enum err_code err_code_from_os(int os)
{
    switch (os) {
    case ENOENT:
    case ESRCH:
        return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
        return ERR_INVALID;
    case ELOOP:
        return ERR_PRECONDITION;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
        return ERR_EXHAUSTED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECANCELED:
        return ERR_CANCELED;
    case ENOSYS:
        return ERR_UNIMPLEMENTED;
    default:
        return ERR_INTERNAL;
    }
}

const char *err_connect_code(enum err_code code)
{
    return codes[code].connect;
}

int err_http_status(enum err_code code)
{
    return codes[code].http;
}

int err_exit_status(enum err_code code)
{
    return codes[code].exit;
}
