/* SPDX-License-Identifier: Apache-2.0 */
/* What packets reach. Targets come from the caller, who listens there: a silence then means that
 * the way is closed, since one more target that must answer shows that there is a way at all.
 * Nothing is ever sent to an address that was not given. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "probe/probe.h"

enum { WAIT_MS = 1000 };

bool probe_target_parse(const char *text, struct probe_target *ret)
{
    char host[64];
    uint64_t port;
    const char *colon = strrchr(text, ':');
    if (!colon || str_to_u64(str_from(colon + 1), 65535, &port) < 0 ||
        (size_t)(colon - text) >= sizeof host)
        return false;
    memset(ret, 0, sizeof *ret);
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->address;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        ret->length = sizeof *v4;
        return true;
    }
    size_t n = strlen(host);
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        ret->length = sizeof *v6;
        return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
    }
    return false;
}

static int open_to(const struct probe_target *to, int type)
{
    int fd = socket(to->address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int rc = connect(fd, (const struct sockaddr *)&to->address, to->length);
    if (rc == 0 && type == SOCK_DGRAM)
        rc = send(fd, "probe", 5, 0) < 0 ? -1 : 0;
    if (rc < 0 && errno != EINPROGRESS)
        fd_closep(&fd);
    return fd;
}

/* Connected, or an answer is there. */
static bool answered(int fd, int type)
{
    char byte;
    int error = 0;
    socklen_t size = sizeof error;
    if (type == SOCK_DGRAM)
        return recv(fd, &byte, 1, MSG_DONTWAIT) >= 0;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

/* Tries all at once; bit i of the result is set when words->word[i] answered. */
static uint32_t reach(const struct probe_words *words, int type)
{
    struct pollfd polls[PROBE_WORDS_MAX];
    uint32_t reached = 0;
    int64_t until = clock_mono_ns() + WAIT_MS * CLOCK_MS;
    for (size_t i = 0; i < words->count; i++) {
        struct probe_target to;
        polls[i] = (struct pollfd){-1, type == SOCK_DGRAM ? POLLIN : POLLOUT, 0};
        if (probe_target_parse(words->word[i], &to))
            polls[i].fd = open_to(&to, type);
    }
    for (;;) {
        size_t waiting = 0;
        for (size_t i = 0; i < words->count; i++)
            waiting += polls[i].fd >= 0;
        int64_t left = (until - clock_mono_ns()) / CLOCK_MS;
        if (waiting == 0 || left <= 0 || poll(polls, words->count, (int)left) <= 0)
            break;
        for (size_t i = 0; i < words->count; i++) {
            if (polls[i].fd < 0 || !polls[i].revents)
                continue;
            if (answered(polls[i].fd, type))
                reached |= UINT32_C(1) << i;
            fd_closep(&polls[i].fd);
        }
    }
    for (size_t i = 0; i < words->count; i++)
        fd_closep(&polls[i].fd);
    return reached;
}

static void try_words(const struct probe_input *in, const struct probe_words *words,
                      struct probe_report *out)
{
    if (words->count == 0) {
        probe_say(out, PROBE_SKIPPED, "no address was given");
        return;
    }
    uint32_t tcp = reach(words, SOCK_STREAM), udp = reach(words, SOCK_DGRAM);
    for (size_t i = 0; i < words->count; i++) {
        if ((tcp >> i) & 1)
            probe_note(out, false, "%s by TCP", words->word[i]);
        if ((udp >> i) & 1)
            probe_note(out, false, "%s by UDP", words->word[i]);
    }
    if (out->verdict != PROBE_HELD)
        return;
    const struct probe_words control = {{in->reachable}, 1};
    if (in->reachable && reach(&control, SOCK_STREAM) == 0)
        probe_say(out, PROBE_UNKNOWN, "silence, but %s does not answer either", in->reachable);
    else
        probe_say(out, PROBE_HELD, "%zu addresses by TCP and UDP, no answer; %s answers",
                  words->count, in->reachable ? in->reachable : "(no control)");
}

static void try_closed(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    try_words(in, &in->closed, out);
}

static void try_peers(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    try_words(in, &in->peers, out);
}

static void try_resolvers(const struct probe *self, const struct probe_input *in,
                          struct probe_report *out)
{
    try_words(in, &in->resolvers, out);
}

/* Addresses of links to the outside; they would reach the host without any route. */
static unsigned look_at_links(struct probe_report *out)
{
    char text[8192], name[32];
    unsigned index = 0, last = 0;
    ssize_t n = probe_read("/proc/net/if_inet6", text, sizeof text);
    struct str rest = {text, n > 0 ? (size_t)n : 0}, line;
    while (str_split(&rest, '\n', &line)) {
        char address[33];
        if (sscanf(line.p, "%32s %x %*x %*x %*x %31s", address, &index, name) != 3 ||
            strcmp(name, "lo") == 0)
            continue;
        probe_note(out, false, "%s has %s", name, address);
        last = index;
    }
    return last;
}

/* A connected datagram socket asks for the route and sends nothing. */
static void try_ipv6(const struct probe *self, const struct probe_input *in,
                     struct probe_report *out)
{
    static const char *const places[] = {"[2001:db8::1]:9", "[fd00::1]:9", "[64:ff9b::a9fe:a9fe]:9",
                                         "[fe80::1]:9", "[ff02::1]:9"};
    unsigned link = look_at_links(out);
    if (link == 0)
        link = if_nametoindex("eth0");
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        struct probe_target to;
        if (!probe_target_parse(places[i], &to))
            continue;
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)&to.address;
        if (address->sin6_addr.s6_addr[0] >= 0xfe)
            address->sin6_scope_id = link;
        _cleanup_close_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int rc = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to.address, to.length);
        probe_tried(out, places[i], rc,
                    (const int[]){ENETUNREACH, EADDRNOTAVAIL, EHOSTUNREACH, EAFNOSUPPORT, EINVAL,
                                  ENODEV, 0});
    }
}

static void try_settings(const struct probe *self, const struct probe_input *in,
                         struct probe_report *out)
{
    struct ifreq request = {.ifr_name = "lo"};
    int one = 1;
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    _cleanup_close_ int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Each sets what is set already. */
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0)
        probe_tried(out, "link flags", ioctl(fd, SIOCSIFFLAGS, &request), NULL);
    if (ioctl(fd, SIOCGIFMTU, &request) == 0)
        probe_tried(out, "link MTU", ioctl(fd, SIOCSIFMTU, &request), NULL);
    probe_tried(out, "IP_TRANSPARENT", setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, 4), NULL);
    probe_tried(out, "SO_MARK", setsockopt(fd, SOL_SOCKET, SO_MARK, &one, 4), NULL);
    probe_tried(out, "SO_RCVBUFFORCE", setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &one, 4), NULL);
    probe_tried(out, "TCP_REPAIR", setsockopt(tcp, IPPROTO_TCP, TCP_REPAIR, &one, 4), NULL);
}

/* Sends with addresses that are not ours; whether any of it arrived, only the other side knows. */
static void try_spoofing(const struct probe *self, const struct probe_input *in,
                         struct probe_report *out)
{
    static const char *const sources[] = {"203.0.113.99", "10.0.0.1", "169.254.169.254"};
    unsigned sent = 0;
    if (in->spoof.count == 0) {
        probe_say(out, PROBE_SKIPPED, "no address was given");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(sources) * in->spoof.count; i++) {
        int one = 1;
        struct probe_target to;
        struct sockaddr_in from = {.sin_family = AF_INET};
        inet_pton(AF_INET, sources[i % ARRAY_SIZE(sources)], &from.sin_addr);
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        /* Everybody may bind to an address that is not there yet. */
        if (!probe_target_parse(in->spoof.word[i / ARRAY_SIZE(sources)], &to) || fd < 0 ||
            setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one) < 0 ||
            bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
            continue;
        sent += sendto(fd, "spoof", 5, 0, (struct sockaddr *)&to.address, to.length) == 5;
    }
    if (sent == 0)
        probe_say(out, PROBE_HELD, "none could be sent");
    else
        probe_say(out, PROBE_UNKNOWN, "%u sent", sent);
}

static const struct probe probes[] = {
    {"network-closed", "10", "host, private, link-local and metadata addresses are closed",
     try_closed, NULL},
    {"network-peers", "10", "other sandboxes are out of reach", try_peers, NULL},
    {"network-resolvers", "10", "names are asked of the named resolvers only", try_resolvers, NULL},
    {"network-ipv6", "10", "IPv6 leads nowhere", try_ipv6, NULL},
    {"network-settings", "10", "its links and their rules cannot be changed", try_settings, NULL},
    {"spoofing", "10", "packets with a false source go nowhere", try_spoofing, NULL},
};

const struct probe_group probe_network = {"network", probes, ARRAY_SIZE(probes), 20};
