/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: ownership by scope, whole reads and writes, descriptors over sockets. */
#pragma once

#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

/* Closes *fd if it is >= 0 and sets it to -1. errno is kept. */
void fd_closep(int *fd);
#define _cleanup_close_ __attribute__((cleanup(fd_closep)))

/* Moves a descriptor out of its variable, which becomes -1. */
#define TAKE_FD(variable)           \
    ({                              \
        int _taken_fd = (variable); \
        (variable) = -1;            \
        _taken_fd;                  \
    })

/* Writes all n bytes, over interruptions. For blocking descriptors. 0 or -errno. */
int fd_write_all(int fd, const void *p, size_t n);
/* Reads until n bytes or end of file. The count, or -errno. */
ssize_t fd_read_all(int fd, void *p, size_t n);
/* Reads a whole small file, at most max bytes (more is -EFBIG), into a fresh NUL-terminated
 * allocation. What is not a regular file is -EINVAL and is not waited for. at may be AT_FDCWD. 0 or -errno. */
int fd_read_file(int at, const char *path, size_t max, char **ret, size_t *ret_len);
/* Creates or replaces a file so that a reader sees the old or the new content, never half of it:
 * temporary sibling, then rename. Not synced to disk. 0 or -errno. */
int fd_replace_file(int at, const char *path, const void *p, size_t n, unsigned mode);
/* Writes p into an existing file (sysfs, cgroupfs, proc) with one write. 0 or -errno. */
int fd_write_file(int at, const char *path, const char *text);

enum { FD_PASS_MAX = 32 };
/* Sends one SEQPACKET/datagram message with up to FD_PASS_MAX descriptors. 0 or -errno. */
int fd_send(int sock, const void *p, size_t n, const int *fds, size_t count);
/* Receives one message; descriptors arrive close-on-exec and are owned by the caller. *ret_count
 * is in: room in fds, out: number received. Returns the length, 0 at the end of the connection, or
 * -errno; a message with more descriptors than room, or cut short, is -EMSGSIZE and leaves none
 * open. */
ssize_t fd_receive(int sock, void *p, size_t n, int *fds, size_t *count);
