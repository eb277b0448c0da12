/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that a person or a client must be told about.
 *
 * A function that can fail returns an int, >= 0 or a negative errno. When more must be said, its
 * last parameter is a `struct err *` (NULL is allowed): a value on the caller's stack, so that
 * reporting never allocates. One table maps each code to Connect's name (protocol.md 4.3), an
 * HTTP status and an exit status, so an error crosses launcher, RPC and command line unchanged. */
#pragma once

/*  X(code,              Connect code,           HTTP, exit, default errno) */
#define ERR_CODES(X)                                                                               \
    X(ERR_OK,              "ok",                  200,  0, 0)                                      \
    X(ERR_INVALID,         "invalid_argument",    400,  2, EINVAL)                                 \
    X(ERR_PRECONDITION,    "failed_precondition", 400,  2, EINVAL)                                 \
    X(ERR_UNAUTHENTICATED, "unauthenticated",     401, 77, EACCES)                                 \
    X(ERR_DENIED,          "permission_denied",   403, 77, EPERM)                                  \
    X(ERR_NOT_FOUND,       "not_found",           404, 66, ENOENT)                                 \
    X(ERR_EXISTS,          "already_exists",      409, 73, EEXIST)                                 \
    X(ERR_CONFLICT,        "aborted",             409, 75, EBUSY)                                  \
    X(ERR_TOO_LARGE,       "resource_exhausted",  413, 65, EMSGSIZE)                               \
    X(ERR_EXHAUSTED,       "resource_exhausted",  429, 75, EAGAIN)                                 \
    X(ERR_CANCELED,        "canceled",            499, 75, ECANCELED)                              \
    X(ERR_INTERNAL,        "internal",            500, 70, EIO)                                    \
    X(ERR_UNKNOWN,         "unknown",             500, 70, EIO)                                    \
    X(ERR_UNIMPLEMENTED,   "unimplemented",       501, 69, ENOSYS)                                 \
    X(ERR_UNAVAILABLE,     "unavailable",         503, 69, ENOTCONN)                               \
    X(ERR_TIMEOUT,         "deadline_exceeded",   504, 75, ETIMEDOUT)                              \
    X(ERR_NO_SPACE,        "resource_exhausted",  507, 74, ENOSPC)

enum err_code {
#define X(code, connect, http, exit, os) code,
    ERR_CODES(X)
#undef X
};

struct err {
    enum err_code code;
    int os;            /* errno behind it, 0 if there is none */
    char message[248]; /* one line for people; says what and where */
};

/* Fills *err (if not NULL) and returns the negative errno to give back: -os, or the code's default
 * when os is 0. A non-zero os is appended to the message as text. */
int err_set(struct err *err, enum err_code code, int os, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The code that fits an errno, for plain system failures. */
enum err_code err_code_from_os(int os);

/* err_set with the code taken from os. */
int err_os(struct err *err, int os, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the message; the code stays. Returns the same value as err_set. */
int err_wrap(struct err *err, const char *context);

const char *err_connect_code(enum err_code code);
int err_http_status(enum err_code code);
int err_exit_status(enum err_code code);
