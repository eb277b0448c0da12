/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of the network probes: takes TCP connections and answers datagrams on the given
 * addresses. Runs outside, or in another sandbox. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "probe/probe.h"

static int open_at(const struct probe_target *at, int type)
{
    int one = 1;
    int fd = socket(at->address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (const struct sockaddr *)&at->address, at->length) < 0 ||
        (type == SOCK_STREAM && listen(fd, 64) < 0))
        fd_closep(&fd);
    return fd;
}

/* "spoof" is told, and never answered: the answer would go to somebody else. */
static void answer(int fd)
{
    char text[64], address[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&from, &length);
    if (n < 0)
        return;
    if (n == 5 && memcmp(text, "spoof", 5) == 0) {
        if (from.ss_family == AF_INET)
            inet_ntop(AF_INET, &((struct sockaddr_in *)&from)->sin_addr, address, sizeof address);
        printf("spoof from %s\n", address);
        fflush(stdout);
        return;
    }
    if (sendto(fd, text, (size_t)n, 0, (struct sockaddr *)&from, length) < 0)
        return; /* who asked is gone */
}

static void serve_one(const struct pollfd *p, bool stream)
{
    if (!(p->revents & POLLIN))
        return;
    if (!stream) {
        answer(p->fd);
        return;
    }
    int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);
    fd_closep(&fd);
}

int probe_serve(const struct probe_words *where)
{
    struct pollfd polls[2 * PROBE_WORDS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < where->count; i++) {
        struct probe_target at;
        if (!probe_target_parse(where->word[i], &at))
            return 2;
        polls[count++] = (struct pollfd){open_at(&at, SOCK_STREAM), POLLIN, 0};
        polls[count++] = (struct pollfd){open_at(&at, SOCK_DGRAM), POLLIN, 0};
        if (polls[count - 2].fd < 0 || polls[count - 1].fd < 0) {
            fprintf(stderr, "carrel-probe: listen on %s: %s\n", where->word[i], strerror(errno));
            return 1;
        }
    }
    printf("serving\n");
    fflush(stdout);
    while (poll(polls, count, -1) >= 0 || errno == EINTR)
        for (size_t i = 0; i < count; i++)
            serve_one(&polls[i], i % 2 == 0);
    return 1;
}
