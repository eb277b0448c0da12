/* SPDX-License-Identifier: Apache-2.0 */
/* Sandbox networks with real packets, as root.
 *
 * All that must not be reachable is played by namespaces of this test, so that nothing forbidden
 * ever leaves the machine: "host" is where the sandboxes hang, "world" is all that is behind its
 * uplink, the internet as well as private networks and metadata services. Every "closed" is proved
 * twice: with the rules no packet arrives, and without them the same packet does. What arrives is
 * told by order, not by waiting: an allowed packet is sent last and must be the first to come. Only
 * the last test uses the machine's own network, for its resolver and its package mirror. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/net-internal.h"
#include "box/ns/netlink.h"
#include "box/ns/nft.h"
#include "net_mirror.h"
#include "net_scene.h"

/* ---- what works ---- */

static void internet_works(void **state)
{
    assert_string_equal(net_host_facts(scene.net)->uplink, "eth0");
    assert_int_equal(net_host_facts(scene.net)->mtu, UPLINK_MTU);
    assert_true(net_host_facts(scene.net)->forwarding_changed);

    int fd = start_connect(scene.internet, SERVER, PORT);
    assert_true(is_connected(fd, PATIENCE_MS));
    must_wait_for(scene.tcp);
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    int server = accept4(scene.tcp, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
    assert_true(server >= 0);
    assert_int_equal(peer.sin_addr.s_addr, address(HOST).s_addr); /* masqueraded */
    char got[8] = "";
    assert_int_equal(write(server, "hello", 5), 5);
    must_wait_for(fd);
    assert_int_equal(read(fd, got, sizeof(got)), 5);
    close(server);
    close(fd);
    send_text(scene.internet, NULL, SERVER, UDP_PORT, "there");
    must_receive(scene.udp, "there");
}

static void resolvers_are_open(void **state)
{
    must_connect(scene.internet, RESOLVER, 53, scene.dns_tcp);
    send_text(scene.internet, NULL, RESOLVER, 53, "question");
    must_receive(scene.dns_udp, "question");
    int tcp = server_in(scene.host, SOCK_STREAM, 53), udp = server_in(scene.host, SOCK_DGRAM, 53);
    must_connect(scene.internet, HOST, 53, tcp);
    send_text(scene.internet, NULL, HOST, 53, "question");
    must_receive(udp, "question");
    close(tcp);
    close(udp);
}

static void everybody_may_bind_low_ports_and_ping(void **state)
{
    char *text = NULL;
    enter(scene.offline);
    assert_int_equal(
        fd_read_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", 64, &text, NULL),
        0);
    assert_string_equal(text, "0\n");
    free(text);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);
    assert_true(fd >= 0);
    close(fd);
    enter(scene.host);
}

/* ---- what does not ---- */

static void closed_addresses_tcp(void **state)
{
    int fds[ARRAY_SIZE(closed)];
    for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
        must_connect(scene.host, closed[i], PORT, scene.tcp); /* the host can */
        fds[i] = start_connect(scene.internet, closed[i], PORT);
    }
    must_connect(scene.internet, SERVER, PORT, scene.tcp); /* and this came first */
    must_have_no_connection(scene.tcp);
    for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
        must_be_idle(fds[i]); /* dropped, not refused */
        close(fds[i]);
    }
}

static void closed_addresses_udp(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(closed); i++)
        send_text(scene.internet, NULL, closed[i], UDP_PORT, closed[i]);
    send_text(scene.internet, NULL, "224.0.0.1", UDP_PORT, "multicast");
    send_text(scene.internet, NULL, SERVER, UDP_PORT, "allowed");
    must_receive(scene.udp, "allowed");
    char rest[8];
    assert_int_equal(recv(scene.udp, rest, sizeof(rest), 0), -1);
    assert_int_equal(errno, EAGAIN);
}

static void host_is_closed(void **state)
{
    char gateway[INET_ADDRSTRLEN];
    struct in_addr gateway_address = net_address_gateway(INSTANCE, INTERNET_SLOT);
    assert_non_null(inet_ntop(AF_INET, &gateway_address, gateway, sizeof(gateway)));
    int tcp = server_in(scene.host, SOCK_STREAM, PORT);
    int udp = server_in(scene.host, SOCK_DGRAM, UDP_PORT);
    int a = start_connect(scene.internet, HOST, PORT);
    int b = start_connect(scene.internet, HOST_PRIVATE, PORT);
    int c = start_connect(scene.internet, gateway, PORT);
    send_text(scene.internet, NULL, HOST, UDP_PORT, "from a sandbox");
    must_connect(scene.host, HOST, PORT, tcp);
    must_have_no_connection(tcp);
    send_text(scene.host, NULL, HOST, UDP_PORT, "from the host");
    must_receive(udp, "from the host");
    must_be_idle(a);
    must_be_idle(b);
    must_be_idle(c);
    close(a);
    close(b);
    close(c);
    close(tcp);
    close(udp);
}

static void other_sandboxes_are_closed(void **state)
{
    int tcp = server_in(scene.other, SOCK_STREAM, PORT);
    int udp = server_in(scene.other, SOCK_DGRAM, UDP_PORT);
    int fd = start_connect(scene.internet, inside_address(OTHER_SLOT), PORT);
    send_text(scene.internet, NULL, inside_address(OTHER_SLOT), UDP_PORT, "from a neighbour");
    must_connect(scene.other, inside_address(OTHER_SLOT), PORT, tcp);
    must_have_no_connection(tcp);
    send_text(scene.other, NULL, inside_address(OTHER_SLOT), UDP_PORT, "from inside");
    must_receive(udp, "from inside");
    must_be_idle(fd);
    close(fd);
    close(tcp);
    close(udp);
}

/* Root inside a sandbox cannot give itself an address; were that to fail, the host drops what
 * claims another source. */
static void spoofed_sources_are_dropped(void **state)
{
    char neighbour[INET_ADDRSTRLEN];
    (void)snprintf(neighbour, sizeof(neighbour), "%s", inside_address(OTHER_SLOT));
    add_address(scene.internet, "lo", "203.0.113.99", 32);
    add_address(scene.internet, "lo", neighbour, 32);
    add_address(scene.internet, "lo", "100.64.112.250", 32);
    send_text(scene.internet, "203.0.113.99", SERVER, UDP_PORT, "foreign");
    send_text(scene.internet, neighbour, SERVER, UDP_PORT, "neighbour");
    send_text(scene.internet, "100.64.112.250", SERVER, UDP_PORT, "nobody");
    send_text(scene.internet, inside_address(INTERNET_SLOT), SERVER, UDP_PORT, "own");
    must_receive(scene.udp, "own");
}

static void nobody_comes_in(void **state)
{
    const char *inside = inside_address(OTHER_SLOT);
    int tcp = server_in(scene.other, SOCK_STREAM, PORT);
    int udp = server_in(scene.other, SOCK_DGRAM, UDP_PORT);
    int from_world = start_connect(scene.world, inside, PORT);
    int from_host = start_connect(scene.host, inside, PORT);
    send_text(scene.world, NULL, inside, UDP_PORT, "from the world");
    int fd = socket_in(scene.host, SOCK_DGRAM);
    struct sockaddr_in peer = socket_address(inside, UDP_PORT);
    assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&peer, sizeof(peer)), -1);
    assert_int_equal(errno, EPERM);
    close(fd);
    must_connect(scene.other, inside, PORT, tcp);
    must_have_no_connection(tcp);
    send_text(scene.other, NULL, inside, UDP_PORT, "from inside");
    must_receive(udp, "from inside");
    must_be_idle(from_world);
    must_be_idle(from_host);
    close(from_world);
    close(from_host);
    close(tcp);
    close(udp);
}

/* Another program publishes a private service on the host's address, and one on a public one. */
static void published_ports_are_no_way_around(void **state)
{
    load_text("table ip published {\n chain in {\n"
              "  type nat hook prerouting priority dstnat; policy accept\n"
              "  ip daddr " HOST " tcp dport 8080 dnat to 10.1.2.3:80\n"
              "  ip daddr 203.0.113.20 tcp dport 80 dnat to 10.1.2.3:80\n }\n}\n");
    must_connect(scene.world, SERVER, PORT, scene.tcp); /* nothing pending before */
    int a = start_connect(scene.internet, HOST, 8080);
    int b = start_connect(scene.internet, "203.0.113.20", PORT);
    must_connect(scene.internet, SERVER, PORT, scene.tcp);
    must_have_no_connection(scene.tcp);
    must_be_idle(a);
    must_be_idle(b);
    close(a);
    close(b);
    load_text("delete table ip published\n");
}

static void offline_has_no_route(void **state)
{
    int fd = socket_in(scene.offline, SOCK_STREAM);
    struct sockaddr_in peer = socket_address(SERVER, PORT);
    assert_int_equal(connect(fd, (struct sockaddr *)&peer, sizeof(peer)), -1);
    assert_int_equal(errno, ENETUNREACH);
    close(fd);
    int server = server_in(scene.offline, SOCK_STREAM, PORT);
    must_connect(scene.offline, "127.0.0.1", PORT, server);
    close(server);
}

static int connect_v6(int netns, const char *to)
{
    struct sockaddr_in6 peer = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
    assert_int_equal(inet_pton(AF_INET6, to, &peer.sin6_addr), 1);
    enter(netns);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    int r = connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0 ? errno : 0;
    close(fd);
    enter(scene.host);
    return r;
}

static void no_ipv6_but_loopback(void **state)
{
    assert_int_equal(connect_v6(scene.internet, "2001:db8::1"), ENETUNREACH);
    assert_int_equal(connect_v6(scene.offline, "2001:db8::1"), ENETUNREACH);
    int refused = connect_v6(scene.internet, "::1"); /* nobody listens, but it is there */
    assert_true(refused == ECONNREFUSED || refused == EINPROGRESS);
}

/* ---- sizes ---- */

static void set_mtu(const char *link, unsigned mtu)
{
    struct ifreq request = {.ifr_mtu = (int)mtu};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", link);
    int fd = socket_in(scene.host, SOCK_DGRAM);
    assert_int_equal(ioctl(fd, SIOCSIFMTU, &request), 0);
    close(fd);
}

/* The segment size that the other side was told, without room for timestamps. */
static void must_have_mss(int netns, int most)
{
    int fd = start_connect(netns, SERVER, PORT), mss = 0;
    socklen_t len = sizeof(mss);
    assert_true(is_connected(fd, PATIENCE_MS));
    int server = accept_as(scene.tcp, SERVER);
    assert_int_equal(getsockopt(server, IPPROTO_TCP, TCP_MAXSEG, &mss, &len), 0);
    assert_in_range(mss, most - 40, most);
    close(server);
    close(fd);
}

static void sizes_follow_the_uplink(void **state)
{
    unsigned mtu = 0;
    enter(scene.internet);
    int sock = netlink_open(NULL);
    assert_int_equal(netlink_link_mtu(sock, "eth0", &mtu), 0);
    close(sock);
    enter(scene.host);
    assert_int_equal(mtu, UPLINK_MTU);
    must_have_mss(scene.internet, UPLINK_MTU - 40);
    set_mtu("eth0", 1300); /* sandboxes made before have the old size, their connections the new */
    must_have_mss(scene.internet, 1300 - 40);
    int later = new_sandbox(FREE_SLOT, true);
    assert_int_equal(net_host_facts(scene.net)->mtu, 1300);
    close(later);
    net_host_release(scene.net, FREE_SLOT);
    set_mtu("eth0", UPLINK_MTU);
}

/* ---- coming and going ---- */

/* A network works when it is there: a first packet lost would be sent again after a second. */
static void slots_are_reused_at_once(void **state)
{
    enum { COUNT = 100, BEFORE_RETRANSMISSION_MS = 900 };
    for (int i = 0; i < COUNT; i++) {
        int netns = new_sandbox(FREE_SLOT, true);
        int fd = start_connect(netns, SERVER, PORT);
        assert_true(is_connected(fd, BEFORE_RETRANSMISSION_MS));
        close(accept_as(scene.tcp, SERVER));
        close(fd);
        close(netns);
        net_host_release(scene.net, FREE_SLOT);
    }
}

static void restart_is_not_noticed(void **state)
{
    int fd = start_connect(scene.internet, SERVER, PORT);
    assert_true(is_connected(fd, PATIENCE_MS));
    int server = accept_as(scene.tcp, SERVER);
    int refused = start_connect(scene.internet, "10.1.2.3", PORT);
    reopen_net();
    assert_false(net_host_facts(scene.net)->forwarding_changed);
    char got[8];
    assert_int_equal(write(server, "still", 5), 5);
    must_wait_for(fd);
    assert_int_equal(read(fd, got, sizeof(got)), 5);
    must_have_no_connection(scene.tcp);
    close(refused);
    close(server);
    close(fd);
}

static void foreign_forward_drop_is_told(void **state)
{
    char found[96];
    nft_forward_drop(found, sizeof(found));
    assert_string_equal(found, "");
    load_text("table ip foreign {\n chain strict {\n"
              "  type filter hook forward priority filter; policy drop\n }\n}\n");
    nft_forward_drop(found, sizeof(found));
    assert_string_equal(found, "table ip foreign, chain strict");
    load_text("delete table ip foreign\n");
}

static void errors_leave_nothing(void **state)
{
    struct err err;
    struct rlimit before, none;
    int fd = -1;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3; /* not a descriptor more */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = net_host_sandbox(scene.net, FREE_SLOT, true, &fd, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(r < 0);
    assert_int_equal(fd, -1);
    assert_non_null(strstr(err.message, "network: "));
    fd = new_sandbox(FREE_SLOT, true);
    must_connect(fd, SERVER, PORT, scene.tcp);
    close(fd);
    net_host_release(scene.net, FREE_SLOT);
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void two_hundred_in_a_row(void **state)
{
    enum { COUNT = 200 };
    int64_t took[COUNT];
    int fds[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        int64_t begin = clock_mono_ns();
        fds[i] = new_sandbox(FREE_SLOT + i, true);
        took[i] = clock_mono_ns() - begin;
    }
    must_connect(fds[COUNT - 1], SERVER, PORT, scene.tcp);
    for (unsigned i = 0; i < COUNT; i++) {
        close(fds[i]);
        net_host_release(scene.net, FREE_SLOT + i);
    }
    qsort(took, COUNT, sizeof(*took), ascending);
    print_message("# %d networks: p50 %lld us, p99 %lld us, max %lld us\n", COUNT,
                  (long long)took[COUNT / 2] / 1000, (long long)took[COUNT * 99 / 100] / 1000,
                  (long long)took[COUNT - 1] / 1000);
    assert_true(took[COUNT / 2] < 100 * CLOCK_MS);
}

/* The counter-proof of all the tests above. */
static void without_rules_all_is_open(void **state)
{
    struct buf text;
    buf_init(&text, 1024);
    uint32_t marks[NET_SLOTS];
    net_scene_close(marks);
    assert_int_equal(nft_remove_text(INSTANCE, &text), 0);
    load_text(buf_cstr(&text));
    buf_done(&text);
    for (size_t i = 0; i < ARRAY_SIZE(closed); i++)
        must_connect(scene.other, closed[i], PORT, scene.tcp);
    send_text(scene.internet, "203.0.113.99", SERVER, UDP_PORT, "foreign");
    must_receive(scene.udp, "foreign");
    int tcp = server_in(scene.host, SOCK_STREAM, PORT);
    must_connect(scene.other, HOST, PORT, tcp);
    close(tcp);
    tcp = server_in(scene.other, SOCK_STREAM, PORT);
    must_connect(scene.world, inside_address(OTHER_SLOT), PORT, tcp);
    must_connect(scene.host, inside_address(OTHER_SLOT), PORT, tcp);
    close(tcp);
    net_scene_open(marks);
}

/* Links of ours that the current namespace still has. */
static unsigned count_links(void)
{
    unsigned count = 0;
    struct if_nameindex *links = if_nameindex();
    assert_non_null(links);
    for (size_t i = 0; links[i].if_index != 0; i++)
        count += strncmp(links[i].if_name, "cr7-", 4) == 0;
    if_freenameindex(links);
    return count;
}

/* The kernel takes namespaces apart on its own time and tells when a link is gone. */
static void wait_until_no_links(void)
{
    struct sockaddr_nl links = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    assert_int_equal(bind(sock, (struct sockaddr *)&links, sizeof(links)), 0);
    while (count_links() > 0) {
        enum { PATIENCE_S = 60 }; /* 35 ms each, and others' may be before ours */
        struct pollfd wait = {.fd = sock, .events = POLLIN};
        char event[8192];
        assert_int_equal(poll(&wait, 1, PATIENCE_S * 1000), 1);
        (void)recv(sock, event, sizeof(event), 0); /* ENOBUFS means many events, as good */
    }
    close(sock);
}

static bool table_exists(void)
{
    struct err err;
    const char *text = "list table inet carrel7\n";
    return nft_load(text, strlen(text), &err) == 0;
}

static void nothing_is_left(void **state)
{
    close(scene.internet);
    close(scene.other);
    close(scene.offline);
    assert_true(table_exists());
    net_host_close(scene.net, true);
    scene.net = NULL;
    assert_false(table_exists());
    wait_until_no_links();
}

/* ---- the machine's own network ---- */

static void the_real_internet(void **state)
{
    struct mirror mirror;
    struct net_options options = {.instance = INSTANCE};
    int count = net_resolvers(options.dns);
    enter(scene.machine);
    if (count <= 0 || !mirror_of_this_machine(&mirror)) {
        print_message("# this machine names no resolver or no package mirror\n");
        return; /* said above; TAP counts a skipped case as failed */
    }
    if (!mirror_resolve(&mirror, options.dns[0]) || !mirror_fetch(&mirror)) {
        print_message("# this machine itself does not reach its package mirror\n");
        return; /* said above; TAP counts a skipped case as failed */
    }
    if (table_exists() || count_links() > 0) {
        print_message("# instance 7 is in use on this machine\n");
        return; /* said above; TAP counts a skipped case as failed */
    }
    options.dns_count = (unsigned)count;
    struct err err;
    if (net_host_open(&options, &scene.net, &err) < 0 || net_host_start(scene.net, &err) < 0)
        fail_msg("%s", err.message);
    int netns = new_sandbox(0, true);
    enter(netns);
    bool resolved = mirror_resolve(&mirror, options.dns[0]);
    bool fetched = mirror_fetch(&mirror);
    enter(scene.machine);
    close(netns);
    net_host_release(scene.net, 0);
    net_host_close(scene.net, true);
    wait_until_no_links();
    assert_false(table_exists());
    assert_true(resolved);
    assert_true(fetched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(internet_works),
        cmocka_unit_test(resolvers_are_open),
        cmocka_unit_test(everybody_may_bind_low_ports_and_ping),
        cmocka_unit_test(closed_addresses_tcp),
        cmocka_unit_test(closed_addresses_udp),
        cmocka_unit_test(host_is_closed),
        cmocka_unit_test(other_sandboxes_are_closed),
        cmocka_unit_test(spoofed_sources_are_dropped),
        cmocka_unit_test(nobody_comes_in),
        cmocka_unit_test(published_ports_are_no_way_around),
        cmocka_unit_test(offline_has_no_route),
        cmocka_unit_test(no_ipv6_but_loopback),
        cmocka_unit_test(sizes_follow_the_uplink),
        cmocka_unit_test(slots_are_reused_at_once),
        cmocka_unit_test(restart_is_not_noticed),
        cmocka_unit_test(foreign_forward_drop_is_told),
        cmocka_unit_test(errors_leave_nothing),
        cmocka_unit_test(two_hundred_in_a_row),
        cmocka_unit_test(without_rules_all_is_open),
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(the_real_internet),
    };
    if (geteuid() != 0) {
        (void)printf("1..0 # SKIP needs root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, net_scene_build, NULL);
}
