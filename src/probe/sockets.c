/* SPDX-License-Identifier: Apache-2.0 */
/* Socket families and protocols: each is kernel code that a socket call would load. */
#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "probe/probe.h"

/* Errors of a kernel that was built without the thing. */
static const int absent[] = {EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EINVAL, 0};

static bool opens(int family, int type, int protocol)
{
    _cleanup_close_ int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    return fd >= 0;
}

static bool family_opens(int family, int *ret_type)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (opens(family, types[i], 0)) {
            *ret_type = types[i];
            return true;
        }
    }
    return false;
}

/* 0 to 45 are all that exist; some more for kernels to come. */
static void try_families(const struct probe *self, const struct probe_input *in,
                         struct probe_report *out)
{
    enum { FAMILIES = 64 };
    unsigned closed = 0;
    for (int family = 0; family < FAMILIES; family++) {
        int type;
        if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)
            continue;
        if (family_opens(family, &type))
            probe_note(out, false, "family %d, type %d", family, type);
        else
            closed++;
    }
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%u families closed", closed);
}

/* The gateways of the kernel bugs of 2026 and before, one property each. */
struct gateway {
    int family, type, protocol;
};

static void try_gateway(const struct probe *self, const struct probe_input *in,
                        struct probe_report *out)
{
    const struct gateway *g = self->data;
    _cleanup_close_ int fd = socket(g->family, g->type | SOCK_CLOEXEC, g->protocol);
    probe_tried(out, "socket", fd, absent);
}

static void try_netlink(const struct probe *self, const struct probe_input *in,
                        struct probe_report *out)
{
    unsigned closed = 0;
    for (int protocol = 1; protocol < 32; protocol++) {
        if (opens(AF_NETLINK, SOCK_RAW, protocol) || opens(AF_NETLINK, SOCK_DGRAM, protocol))
            probe_note(out, false, "protocol %d", protocol);
        else
            closed++;
    }
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%u protocols closed", closed);
}

/* sudo and PAM give up when told that auditing is forbidden, and go on when there is none. */
static void try_audit(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
    int os = fd < 0 ? errno : 0;
    bool good = os == EPROTONOSUPPORT || os == EAFNOSUPPORT || os == EINVAL;
    probe_say(out, good ? PROBE_HELD : PROBE_OPEN, "%s", os ? probe_errno(os) : "allowed");
}

static void try_raw(const struct probe *self, const struct probe_input *in,
                    struct probe_report *out)
{
    static const struct {
        const char *name;
        int type, protocol;
    } kinds[] = {{"raw ICMP", SOCK_RAW, IPPROTO_ICMP},
                 {"raw IP", SOCK_RAW, IPPROTO_RAW},
                 {"raw TCP", SOCK_RAW, IPPROTO_TCP},
                 {"packet", SOCK_PACKET, 0x300},
                 {"SCTP", SOCK_STREAM, IPPROTO_SCTP},
                 {"DCCP", 6, IPPROTO_DCCP},
                 {"MPTCP", SOCK_STREAM, 262},
                 {"SMC", SOCK_STREAM, 256},
                 {"UDPLITE", SOCK_DGRAM, IPPROTO_UDPLITE},
                 {"L2TP", SOCK_DGRAM, 115}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        for (int family = AF_INET; family <= AF_INET6; family += AF_INET6 - AF_INET) {
            _cleanup_close_ int fd =
                socket(family, kinds[i].type | SOCK_CLOEXEC, kinds[i].protocol);
            char what[32];
            snprintf(what, sizeof what, "%s%s", kinds[i].name, family == AF_INET ? "" : "/6");
            probe_tried(out, what, fd, absent);
        }
    }
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%zu kinds closed", ARRAY_SIZE(kinds));
}

static void try_protocol_modules(const struct probe *self, const struct probe_input *in,
                                 struct probe_report *out)
{
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* A name that no module has: ENOENT when the kernel went to look for one. */
    probe_tried(out, "TCP_ULP", setsockopt(fd, IPPROTO_TCP, TCP_ULP, "carrel", 6),
                (const int[]){ENOPROTOOPT, 0});
}

static void try_pairs(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    static const struct {
        const char *name;
        int family, type;
    } kinds[] = {{"TIPC", AF_TIPC, SOCK_STREAM},
                 {"VSOCK", AF_VSOCK, SOCK_STREAM},
                 {"NETLINK", AF_NETLINK, SOCK_RAW}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        int pair[2];
        static const int also[] = {EAFNOSUPPORT, EPROTONOSUPPORT, EOPNOTSUPP, 0};
        int rc = socketpair(kinds[i].family, kinds[i].type | SOCK_CLOEXEC, 0, pair);
        probe_tried(out, kinds[i].name, rc, also);
        if (rc == 0) {
            close(pair[0]);
            close(pair[1]);
        }
    }
}

static int connect_abstract(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    if (n >= sizeof address.sun_path)
        n = sizeof address.sun_path - 1;
    memcpy(address.sun_path + 1, name, n);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
    return connect(fd, (struct sockaddr *)&address, length);
}

static void try_abstract(const struct probe *self, const struct probe_input *in,
                         struct probe_report *out)
{
    if (!in->host_abstract) {
        probe_say(out, PROBE_SKIPPED, "no name was given");
        return;
    }
    probe_tried(out, "connect", connect_abstract(in->host_abstract),
                (const int[]){ECONNREFUSED, 0});
}

static const struct gateway alg = {AF_ALG, SOCK_SEQPACKET, 0};
static const struct gateway rxrpc = {33, SOCK_DGRAM, AF_INET};
static const struct gateway key = {AF_KEY, SOCK_RAW, 2};
static const struct gateway vsock = {AF_VSOCK, SOCK_STREAM, 0};
static const struct gateway packet = {AF_PACKET, SOCK_RAW, 0};
static const struct gateway packet_dgram = {AF_PACKET, SOCK_DGRAM, 0x300};
static const struct gateway xdp = {44, SOCK_RAW, 0};
static const struct gateway bluetooth = {AF_BLUETOOTH, SOCK_RAW, 1};
static const struct gateway xfrm = {AF_NETLINK, SOCK_RAW, NETLINK_XFRM};
static const struct gateway netfilter = {AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER};

static const struct probe probes[] = {
    {"socket-families", "6", "no socket families but UNIX, INET, INET6 and NETLINK", try_families,
     NULL},
    {"af-alg", "6", "the kernel's crypto is closed (CVE-2026-31431)", try_gateway, &alg},
    {"af-rxrpc", "6", "AF_RXRPC is closed (CVE-2026-43500)", try_gateway, &rxrpc},
    {"af-key", "6", "AF_KEY is closed", try_gateway, &key},
    {"af-vsock", "6", "AF_VSOCK is closed: it knows no network namespace", try_gateway, &vsock},
    {"af-packet", "6", "no packet sockets", try_gateway, &packet},
    {"af-packet-dgram", "6", "no cooked packet sockets", try_gateway, &packet_dgram},
    {"af-xdp", "6", "AF_XDP is closed", try_gateway, &xdp},
    {"af-bluetooth", "6", "Bluetooth is closed", try_gateway, &bluetooth},
    {"netlink-xfrm", "6", "NETLINK_XFRM is closed (CVE-2026-43284)", try_gateway, &xfrm},
    {"netlink-netfilter", "6", "NETLINK_NETFILTER is closed", try_gateway, &netfilter},
    {"netlink", "6", "no netlink protocol but ROUTE", try_netlink, NULL},
    {"netlink-audit", "6", "auditing is absent, not forbidden: sudo goes on", try_audit, NULL},
    {"raw-sockets", "10", "no raw sockets, no rare transports", try_raw, NULL},
    {"tcp-ulp", "6", "no protocol modules by socket option", try_protocol_modules, NULL},
    {"socket-pairs", "6", "socketpair is as narrow as socket", try_pairs, NULL},
    {"abstract-sockets", "10", "abstract sockets of the host are out of reach", try_abstract, NULL},
};

const struct probe_group probe_sockets = {"sockets", probes, ARRAY_SIZE(probes), 10};
