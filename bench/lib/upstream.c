/* SPDX-License-Identifier: Apache-2.0 */
/* The server behind the proxies that control.py compares: GET /N answers with N bytes, any other
 * request with a short text. Epoll, one thread, keeps connections.
 *
 *     upstream PORT */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 4096, EVENTS_MAX = 256, HEAD_MAX = 8192 };

struct connection {
    char head[HEAD_MAX];
    size_t have;
    unsigned long long body_left; /* of an answer under way */
};

static struct connection *connections[CONNECTIONS_MAX];
static char filling[1 << 18];
static int ep;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void drop(int fd)
{
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

static void watch(int fd, uint32_t events, int op)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(ep, op, fd, &event);
}

/* Sends what is left of a body; 1 when done, 0 when the socket is full, -1 when it broke. */
static int send_body(int fd, struct connection *c)
{
    while (c->body_left) {
        size_t n = c->body_left < sizeof filling ? (size_t)c->body_left : sizeof filling;
        ssize_t sent = send(fd, filling, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN ? 0 : -1;
        c->body_left -= (unsigned long long)sent;
    }
    return 1;
}

static int answer(int fd, struct connection *c)
{
    char head[256];
    unsigned long long size = 0;
    if (sscanf(c->head, "GET /%llu ", &size) != 1)
        size = 0;
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n%s",
                     size ? size : 6, size ? "" : "hello\n");
    if (send(fd, head, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
        return -1;
    c->body_left = size;
    return send_body(fd, c);
}

static void serve(int fd, struct connection *c)
{
    if (c->body_left) {
        int done = send_body(fd, c);
        if (done < 0)
            drop(fd);
        else if (done > 0)
            watch(fd, EPOLLIN, EPOLL_CTL_MOD);
        return;
    }
    ssize_t got = recv(fd, c->head + c->have, HEAD_MAX - 1 - c->have, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            drop(fd);
        return;
    }
    c->have += (size_t)got;
    c->head[c->have] = '\0';
    if (!strstr(c->head, "\r\n\r\n")) {
        if (c->have == HEAD_MAX - 1)
            drop(fd);
        return;
    }
    c->have = 0;
    int done = answer(fd, c);
    if (done < 0)
        drop(fd);
    else if (done == 0)
        watch(fd, EPOLLOUT, EPOLL_CTL_MOD);
}

static void take(int listener)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (fd >= CONNECTIONS_MAX) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[fd] = calloc(1, sizeof *connections[fd]);
    watch(fd, EPOLLIN, EPOLL_CTL_ADD);
}

int main(int argc, char **argv)
{
    unsigned port = 0;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (argc != 2 || sscanf(argv[1], "%u", &port) != 1)
        return 2;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 512) < 0)
        die("listen");
    memset(filling, 'x', sizeof filling);
    ep = epoll_create1(EPOLL_CLOEXEC);
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(ep, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                take(listener);
            else if (connections[fd])
                serve(fd, connections[fd]);
        }
    }
}
