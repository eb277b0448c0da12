/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: whole reads and writes, descriptors over sockets. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/mem.h"

void fd_closep(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
        *fd = -1;
    }
}

int fd_write_all(int fd, const void *p, size_t n)
{
    const char *next = p;
    while (n) {
        ssize_t written = write(fd, next, n);
        if (written < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        next += written;
        n -= (size_t)written;
    }
    return 0;
}

ssize_t fd_read_all(int fd, void *p, size_t n)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = read(fd, (char *)p + got, n - got);
        if (r < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (r == 0)
            break;
        got += (size_t)r;
    }
    return (ssize_t)got;
}

int fd_read_file(int at, const char *path, size_t max, char **ret, size_t *ret_len)
{
    /* Not to hang on a FIFO that somebody put in the file's place. */
    _cleanup_close_ int fd = openat(at, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    size_t room = 4096, len = 0;
    if (room > max + 1)
        room = max + 1;
    _cleanup_free_ char *data = xmalloc(room + 1);
    for (;;) {
        ssize_t got = fd_read_all(fd, data + len, room - len);
        if (got < 0)
            return (int)got;
        len += (size_t)got;
        if (len < room)
            break;
        if (len > max)
            return -EFBIG;
        room = room * 2 > max + 1 ? max + 1 : room * 2;
        data = xrealloc(data, room + 1);
    }
    data[len] = '\0';
    if (ret_len)
        *ret_len = len;
    *ret = TAKE_PTR(data);
    return 0;
}

int fd_replace_file(int at, const char *path, const void *p, size_t n, unsigned mode)
{
    _cleanup_free_ char *temporary = xasprintf("%s.new", path);
    _cleanup_close_ int fd =
        openat(at, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    int rc = fd_write_all(fd, p, n);
    if (rc == 0 && renameat(at, temporary, at, path) < 0)
        rc = -errno;
    if (rc < 0)
        unlinkat(at, temporary, 0);
    return rc;
}

int fd_write_file(int at, const char *path, const char *text)
{
    _cleanup_close_ int fd = openat(at, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t n = strlen(text);
    ssize_t written = write(fd, text, n);
    if (written < 0)
        return -errno;
    return (size_t)written == n ? 0 : -EIO;
}

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
};

int fd_send(int sock, const void *p, size_t n, const int *fds, size_t count)
{
    if (count > FD_PASS_MAX)
        return -EINVAL;
    union control control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * count);
    }
    ssize_t sent;
    do
        sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return -errno;
    return (size_t)sent == n ? 0 : -EMSGSIZE;
}

static size_t collect(struct msghdr *msg, int *fds, size_t room, bool *overflow)
{
    size_t count = 0;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = head->cmsg_len - CMSG_LEN(0);
        for (size_t i = 0; i < bytes / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof fd);
            if (count < room) {
                fds[count++] = fd;
            } else {
                close(fd);
                *overflow = true;
            }
        }
    }
    return count;
}

ssize_t fd_receive(int sock, void *p, size_t n, int *fds, size_t *count)
{
    union control control;
    struct iovec iov = {.iov_base = p, .iov_len = n};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    size_t room = count ? *count : 0;
    bool overflow = false;
    ssize_t got;
    do
        got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    size_t received = collect(&msg, fds, room, &overflow);
    if (overflow || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        for (size_t i = 0; i < received; i++)
            close(fds[i]);
        received = 0;
        got = -EMSGSIZE;
    }
    if (count)
        *count = received;
    return got;
}
