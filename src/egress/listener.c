/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting what comes from sandboxes. Who is unknown, or has too much open, is turned away. */
#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "egress/egress-internal.h"
#include "egress/session.h"

enum { TURN_MAX = 64 /* accepted at once */ };

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_one(struct listener *l)
{
    if (l->poll)
        uv_close((uv_handle_t *)TAKE_PTR(l->poll), free_handle);
    fd_closep(&l->fd);
}

void listeners_close(struct egress *egress)
{
    for (int i = 0; i < EGRESS_SOCKETS; i++)
        close_one(&egress->listeners[i]);
}

/* A reset rather than an end: the client is to see that it was turned away. */
static void turn_away(int fd)
{
    const struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void greet(struct listener *l, int fd, struct in_addr from)
{
    struct egress *egress = l->egress;
    link_read(egress);
    struct guest *guest = guests_find(egress->guests, from);
    if (!guest) {
        turn_away(fd);
    } else if (l->type == EGRESS_SOCKET_DNS_TCP) {
        dns_server_connection(egress, guest, fd);
    } else if (guest->session_count >= GUEST_SESSIONS_MAX) {
        guest_refused(guest, "connection", STR(""), "too many at once");
        turn_away(fd);
    } else {
        session_open(egress, guest, l->type == EGRESS_SOCKET_HTTPS ? SESSION_TLS : SESSION_HTTP,
                     fd);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    struct egress *egress = l->egress;
    if (l->type == EGRESS_SOCKET_DNS_UDP) {
        dns_server_datagrams(l);
        return;
    }
    for (int i = 0; i < TURN_MAX && l->poll == poll; i++) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        if (egress->sessions >= egress->sessions_max) {
            log_warning("egress is full", "connections=%u", egress->sessions);
            egress->full = true;
            listeners_watch(egress);
            return;
        }
        int fd = accept4(l->fd, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        greet(l, fd, from.sin_addr);
    }
}

void listeners_watch(struct egress *egress)
{
    for (int i = 0; i < EGRESS_SOCKETS; i++) {
        struct listener *l = &egress->listeners[i];
        if (!l->poll)
            continue;
        if (egress->full && i != EGRESS_SOCKET_DNS_UDP)
            uv_poll_stop(l->poll);
        else
            uv_poll_start(l->poll, UV_READABLE, on_readable);
    }
}

void listeners_set(struct egress *egress, const int fds[EGRESS_SOCKETS])
{
    for (int i = 0; i < EGRESS_SOCKETS; i++) {
        struct listener *l = &egress->listeners[i];
        close_one(l);
        l->fd = fds[i];
        l->poll = xcalloc(1, sizeof *l->poll);
        l->poll->data = l;
        if (uv_poll_init(&egress->loop, l->poll, l->fd) < 0) {
            free(TAKE_PTR(l->poll));
            fd_closep(&l->fd);
        }
    }
    listeners_watch(egress);
}
