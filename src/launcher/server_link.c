/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's connection to the server. */
#include "launcher/server_link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"

int server_link_accept(struct server_link *link, int listen_fd, uid_t uid)
{
    _cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    if (peer.uid != 0 && peer.uid != uid)
        return -EPERM;
    server_link_close(link);
    link->fd = TAKE_FD(fd);
    link->generation++;
    return 0;
}

void server_link_close(struct server_link *link)
{
    fd_closep(&link->fd);
    free(link->queue);
    link->queue = NULL;
    link->count = link->capacity = 0;
}

static bool terminated(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

int server_link_read(struct server_link *link, struct server_request *ret)
{
    size_t no_fds = 0;
    ssize_t n = fd_receive(link->fd, ret, sizeof *ret, NULL, &no_fds);
    if (n == -EAGAIN)
        return 0;
    const struct launcher_request *head = &ret->head;
    if (n > 0 &&
        (n < (ssize_t)sizeof *head || head->version != LAUNCHER_VERSION ||
         head->config_len > LAUNCHER_CONFIG_MAX || head->network_len > LAUNCHER_NETWORK_MAX ||
         head->network_len + head->config_len != (size_t)n - sizeof *head || head->serial == 0 ||
         !terminated(head->id, sizeof head->id) || !terminated(head->base, sizeof head->base) ||
         !terminated(head->template_name, sizeof head->template_name)))
        n = -EPROTO;
    if (n > 0)
        return 1;
    server_link_close(link);
    return n < 0 ? (int)n : -ECONNRESET;
}

static int send_now(struct server_link *link, const struct launcher_reply *reply)
{
    return fd_send(link->fd, reply, sizeof *reply, NULL, 0);
}

void server_link_send(struct server_link *link, const struct launcher_reply *reply)
{
    if (link->fd < 0)
        return;
    int rc = link->count ? -EAGAIN : send_now(link, reply);
    if (rc == 0)
        return;
    if (rc != -EAGAIN) {
        server_link_close(link);
        return;
    }
    if (link->count == link->capacity) {
        link->capacity = link->capacity ? link->capacity * 2 : 64;
        link->queue = xrealloc(link->queue, link->capacity * sizeof *link->queue);
    }
    link->queue[link->count++] = *reply;
}

void server_link_flush(struct server_link *link)
{
    size_t sent = 0;
    int rc = 0;
    while (sent < link->count && (rc = send_now(link, &link->queue[sent])) == 0)
        sent++;
    if (rc < 0 && rc != -EAGAIN) {
        server_link_close(link);
        return;
    }
    link->count -= sent;
    memmove(link->queue, link->queue + sent, link->count * sizeof *link->queue);
}

bool server_link_waiting(const struct server_link *link)
{
    return link->count > 0;
}
