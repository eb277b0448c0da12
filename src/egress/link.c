/* SPDX-License-Identifier: Apache-2.0 */
/* The connection from the launcher, who is root. One at a time: the newest counts. While there is
 * none, what it said last stays in force. */
#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/hostname.h"
#include "base/log.h"
#include "base/mem.h"
#include "egress/egress-internal.h"

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void hang_up(struct egress *egress, const char *why)
{
    if (egress->link_fd < 0)
        return;
    log_info("launcher gone", "why=\"%s\"", why);
    uv_close((uv_handle_t *)TAKE_PTR(egress->link_poll), free_handle);
    fd_closep(&egress->link_fd);
}

/* ---- messages ---- */

static bool ranges_valid(const struct egress_range *ranges, uint32_t count)
{
    if (count > EGRESS_RANGES_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (ranges[i].prefix > 32)
            return false;
    return true;
}

static bool take_hello(struct egress *egress, const void *message, size_t n, int *fds, size_t count)
{
    struct egress_hello hello;
    if (n != sizeof hello || count != EGRESS_SOCKETS)
        return false;
    memcpy(&hello, message, n);
    if (!ranges_valid(hello.closed, hello.closed_count) ||
        !ranges_valid(hello.opened, hello.opened_count))
        return false;
    resolver_configure(egress->resolver, &hello);
    guests_expect(egress->guests);
    listeners_set(egress, fds);
    return true;
}

static bool take_change(struct egress *egress, const char *message, size_t n)
{
    struct egress_change change;
    if (n < sizeof change)
        return false;
    memcpy(&change, message, sizeof change);
    const char *names = message + sizeof change;
    if (change.names_len != n - sizeof change || !memchr(change.id, '\0', sizeof change.id))
        return false;
    const struct in_addr address = {change.address};
    switch (change.op) {
    case EGRESS_SET:
        if (change.names_len == 0 || names[change.names_len - 1] != '\0')
            return false;
        guests_set(egress->guests, address, change.id, (struct str){names, change.names_len});
        return true;
    case EGRESS_REMOVE:
        guests_remove(egress->guests, address);
        return true;
    case EGRESS_COMPLETE:
        guests_complete(egress->guests);
        log_info("egress ready", "dns=%d", egress->listeners[EGRESS_SOCKET_DNS_UDP].fd >= 0);
        return true;
    default:
        return false;
    }
}

static bool take(struct egress *egress, const char *message, size_t n, int *fds, size_t count)
{
    uint32_t begin[2];
    if (n < sizeof begin)
        return false;
    memcpy(begin, message, sizeof begin);
    if (begin[0] != EGRESS_VERSION)
        return false;
    if (begin[1] == EGRESS_HELLO)
        return take_hello(egress, message, n, fds, count);
    return count == 0 && take_change(egress, message, n);
}

void link_read(struct egress *egress)
{
    while (egress->link_fd >= 0) {
        char message[sizeof(struct egress_change) + EGRESS_NAMES_BYTES];
        _Static_assert(sizeof message >= sizeof(struct egress_hello), "both fit");
        int fds[EGRESS_SOCKETS];
        size_t count = EGRESS_SOCKETS;
        ssize_t n = fd_receive(egress->link_fd, message, sizeof message, fds, &count);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            hang_up(egress, n < 0 ? strerror((int)-n) : "connection closed");
            return;
        }
        if (!take(egress, message, (size_t)n, fds, count)) {
            for (size_t i = 0; i < count; i++)
                close(fds[i]);
            hang_up(egress, "a message that is not understood");
        }
    }
}

/* ---- connections ---- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
    link_read(poll->data);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct egress *egress = poll->data;
    struct ucred peer;
    socklen_t size = sizeof peer;
    _cleanup_close_ int fd = accept4(egress->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != 0) {
        log_warning("not the launcher", "uid=%u", peer.uid);
        return;
    }
    hang_up(egress, "another one has come");
    uv_poll_t *own = xcalloc(1, sizeof *own);
    if (uv_poll_init(&egress->loop, own, fd) < 0) {
        free(own);
        return;
    }
    own->data = egress;
    egress->link_poll = own;
    egress->link_fd = TAKE_FD(fd);
    uv_poll_start(own, UV_READABLE, on_readable);
    link_read(egress);
}

int link_open(struct egress *egress, int listen_fd)
{
    egress->link_fd = -1;
    egress->listen_fd = listen_fd;
    int rc = uv_poll_init(&egress->loop, &egress->listen_poll, listen_fd);
    egress->listen_poll.data = egress;
    return rc < 0 ? rc : uv_poll_start(&egress->listen_poll, UV_READABLE, on_connection);
}

void link_close(struct egress *egress)
{
    hang_up(egress, "stopping");
    uv_close((uv_handle_t *)&egress->listen_poll, NULL);
}
