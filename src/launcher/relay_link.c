/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to the egress relay. */
#include "launcher/relay_link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

enum { BACKLOG = 1024 };

struct relay_message {
    struct relay_message *next;
    bool hello; /* the sockets go along */
    size_t len;
    char bytes[];
};

/* ---- sockets ---- */

static int open_socket(struct in_addr address, int type, uint16_t *ret_port, struct err *err)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = address};
    socklen_t size = sizeof own;
    int one = 1;
    _cleanup_close_ int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&own, sizeof own) < 0 ||
        (type == SOCK_STREAM && listen(fd, BACKLOG) < 0) ||
        getsockname(fd, (struct sockaddr *)&own, &size) < 0)
        return err_os(err, errno, "socket of the egress relay");
    *ret_port = ntohs(own.sin_port);
    return TAKE_FD(fd);
}

int relay_link_open(struct relay_link *link, const char *path, struct in_addr address, uid_t uid,
                    struct err *err)
{
    *link = (struct relay_link){.path = path, .fd = -1};
    link->end = &link->first;
    uint16_t *const ports[EGRESS_SOCKETS] = {[EGRESS_SOCKET_HTTPS] = &link->at.https,
                                             [EGRESS_SOCKET_HTTP] = &link->at.http,
                                             [EGRESS_SOCKET_DNS_UDP] = &link->at.dns_udp,
                                             [EGRESS_SOCKET_DNS_TCP] = &link->at.dns_tcp};
    for (int i = 0; i < EGRESS_SOCKETS; i++)
        link->sockets[i] = -1;
    for (int i = 0; path && i < EGRESS_SOCKETS; i++) {
        int type = i == EGRESS_SOCKET_DNS_UDP ? SOCK_DGRAM : SOCK_STREAM;
        link->sockets[i] = open_socket(address, type, ports[i], err);
        if (link->sockets[i] < 0)
            return link->sockets[i];
    }
    link->at.uid = uid;
    return 0;
}

static void hang_up(struct relay_link *link)
{
    fd_closep(&link->fd);
    for (struct relay_message *m; (m = link->first);) {
        link->first = m->next;
        free(m);
    }
    link->end = &link->first;
}

void relay_link_close(struct relay_link *link)
{
    if (!link->end)
        return;
    hang_up(link);
    for (int i = 0; i < EGRESS_SOCKETS; i++)
        fd_closep(&link->sockets[i]);
}

/* ---- messages ---- */

/* False when it cannot be sent now. */
static bool send_now(struct relay_link *link, const struct relay_message *m)
{
    int rc = fd_send(link->fd, m->bytes, m->len, link->sockets, m->hello ? EGRESS_SOCKETS : 0);
    if (rc < 0 && rc != -EAGAIN) {
        log_warning("egress relay lost", "error=\"%s\"", strerror(-rc));
        hang_up(link);
    }
    return rc == 0;
}

static void flush(struct relay_link *link)
{
    while (link->first && send_now(link, link->first)) {
        struct relay_message *sent = link->first;
        link->first = sent->next;
        if (!link->first)
            link->end = &link->first;
        free(sent);
    }
}

static void add(struct relay_link *link, bool hello, const void *p, size_t n, const void *q,
                size_t more)
{
    if (link->fd < 0)
        return;
    struct relay_message *m = xmalloc(sizeof *m + n + more);
    m->next = NULL;
    m->hello = hello;
    m->len = n + more;
    memcpy(m->bytes, p, n);
    if (more)
        memcpy(m->bytes + n, q, more);
    *link->end = m;
    link->end = &m->next;
    flush(link);
}

static void add_change(struct relay_link *link, uint32_t op, struct in_addr address, const char *id,
                       const char *names, size_t names_len)
{
    struct egress_change change = {.version = EGRESS_VERSION,
                                   .op = op,
                                   .address = address.s_addr,
                                   .names_len = (uint32_t)names_len};
    snprintf(change.id, sizeof change.id, "%s", id);
    add(link, false, &change, sizeof change, names, names_len);
}

void relay_link_set(struct relay_link *link, struct in_addr address, const char *id,
                    const char *names, size_t names_len)
{
    add_change(link, EGRESS_SET, address, id, names, names_len);
}

void relay_link_remove(struct relay_link *link, struct in_addr address)
{
    add_change(link, EGRESS_REMOVE, address, "", NULL, 0);
}

void relay_link_complete(struct relay_link *link)
{
    add_change(link, EGRESS_COMPLETE, (struct in_addr){0}, "", NULL, 0);
}

/* ---- connection ---- */

static uint32_t put_ranges(struct egress_range *to, const struct net_range *from, unsigned count)
{
    uint32_t n = 0;
    for (; n < count && n < EGRESS_RANGES_MAX; n++)
        to[n] = (struct egress_range){from[n].address, from[n].prefix};
    return n;
}

bool relay_link_connect(struct relay_link *link, const struct in_addr *dns, unsigned dns_count,
                        const struct net_range *opened, unsigned opened_count)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct egress_hello hello = {.version = EGRESS_VERSION, .op = EGRESS_HELLO};
    unsigned closed_count;
    const struct net_range *closed = net_closed(&closed_count);
    if (!link->path || link->fd >= 0 || strlen(link->path) >= sizeof to.sun_path)
        return false;
    memcpy(to.sun_path, link->path, strlen(link->path));
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The supervisor holds the listening socket: this succeeds while the relay is being started. */
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        return false;
    for (unsigned i = 0; i < dns_count && i < EGRESS_DNS_MAX; i++)
        hello.dns[i] = dns[i].s_addr;
    hello.closed_count = put_ranges(hello.closed, closed, closed_count);
    hello.opened_count = put_ranges(hello.opened, opened, opened_count);
    link->fd = TAKE_FD(fd);
    add(link, true, &hello, sizeof hello, NULL, 0);
    return link->fd >= 0;
}

void relay_link_step(struct relay_link *link)
{
    char byte;
    if (link->fd < 0)
        return;
    ssize_t n = recv(link->fd, &byte, 1, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        log_warning("egress relay gone", "error=\"%s\"", n < 0 ? strerror(errno) : "closed");
        hang_up(link);
        return;
    }
    flush(link);
}

short relay_link_events(const struct relay_link *link)
{
    return (short)(POLLIN | (link->first ? POLLOUT : 0));
}
