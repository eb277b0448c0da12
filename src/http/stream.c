/* SPDX-License-Identifier: Apache-2.0 */
/* A byte stream on a plain socket. uv_poll rather than uv_stream: the owner decides when and into
 * which memory to read, and can use sendfile. */
#include "http/stream-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/mem.h"

struct plain {
    struct stream base;
    uv_poll_t poll;
    int events; /* what the poll handle watches now */
};

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct plain *p = handle->data;
    struct stream *s = &p->base;
    if (status < 0) { /* libuv has stopped the handle; reading or writing tells what is wrong */
        int watched = p->events;
        p->events = 0;
        s->ready(s, watched & UV_READABLE, watched & UV_WRITABLE, s->arg);
        return;
    }
    s->ready(s, events & UV_READABLE, events & UV_WRITABLE, s->arg);
}

static void plain_watch(struct stream *s, bool readable, bool writable)
{
    struct plain *p = (struct plain *)s;
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    if (events == p->events)
        return;
    p->events = events;
    if (events)
        uv_poll_start(&p->poll, events, on_poll);
    else
        uv_poll_stop(&p->poll);
}

static ssize_t plain_read(struct stream *s, void *p, size_t n)
{
    ssize_t got;
    do
        got = read(s->fd, p, n);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static ssize_t plain_write(struct stream *s, const struct iovec *parts, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    ssize_t sent;
    do
        sent = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static ssize_t plain_sendfile(struct stream *s, int file, off_t *offset, size_t n)
{
    ssize_t sent;
    do
        sent = sendfile(s->fd, file, offset, n);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static void plain_shutdown_write(struct stream *s)
{
    shutdown(s->fd, SHUT_WR);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void plain_close(struct stream *s, bool reset)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    struct plain *p = (struct plain *)s;
    if (reset)
        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    uv_close((uv_handle_t *)&p->poll, on_closed);
    close(s->fd);
    s->fd = -1;
}

static const struct stream_ops plain_ops = {
    .watch = plain_watch,
    .read = plain_read,
    .write = plain_write,
    .sendfile = plain_sendfile,
    .shutdown_write = plain_shutdown_write,
    .close = plain_close,
};

int stream_open(uv_loop_t *loop, int fd, stream_ready_fn *ready, void *arg, struct stream **ret)
{
    struct plain *p = xcalloc(1, sizeof *p);
    int rc = uv_poll_init(loop, &p->poll, fd);
    if (rc < 0) {
        close(fd);
        free(p);
        return rc;
    }
    p->poll.data = p;
    p->base = (struct stream){&plain_ops, loop, fd, ready, arg};
    *ret = &p->base;
    return 0;
}

int stream_connect_unix(uv_loop_t *loop, const char *path, stream_ready_fn *ready, void *arg,
                        struct stream **ret)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, len + 1);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    return stream_open(loop, TAKE_FD(fd), ready, arg, ret);
}

/* ---- any stream ---- */

void stream_set_owner(struct stream *s, stream_ready_fn *ready, void *arg)
{
    s->ready = ready;
    s->arg = arg;
}

void stream_watch(struct stream *s, bool readable, bool writable)
{
    s->ops->watch(s, readable, writable);
}

ssize_t stream_read(struct stream *s, void *p, size_t n)
{
    return s->ops->read(s, p, n);
}

ssize_t stream_write(struct stream *s, const struct iovec *parts, int count)
{
    return s->ops->write(s, parts, count);
}

ssize_t stream_sendfile(struct stream *s, int file, off_t *offset, size_t n)
{
    return s->ops->sendfile(s, file, offset, n);
}

void stream_shutdown_write(struct stream *s)
{
    s->ops->shutdown_write(s);
}

void stream_close(struct stream *s)
{
    s->ops->close(s, false);
}

void stream_reset(struct stream *s)
{
    s->ops->close(s, true);
}

int stream_fd(const struct stream *s)
{
    return s->fd;
}

uv_loop_t *stream_loop(const struct stream *s)
{
    return s->loop;
}
