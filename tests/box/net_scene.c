/* SPDX-License-Identifier: Apache-2.0 */
/* Building the scene of net_test.c and acting in it. Everything is asserted on the spot. */
#include "net_scene.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "box/ns/netlink.h"
#include "box/ns/nft.h"

struct net_scene scene;

const char *const closed[CLOSED_COUNT] = {
    "10.1.2.3",        "172.16.5.5",   "192.168.77.7", "169.254.169.254",
    "100.100.100.200", "100.64.112.9", "198.18.0.1",   "192.0.0.8",
    "168.63.129.16",   "240.0.0.1",    RESOLVER,
};

/* ---- small tools ---- */

void enter(int netns)
{
    assert_int_equal(setns(netns, CLONE_NEWNET), 0);
}

static int new_namespace(void)
{
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

struct in_addr address(const char *text)
{
    struct in_addr result;
    assert_int_equal(inet_pton(AF_INET, text, &result), 1);
    return result;
}

struct sockaddr_in socket_address(const char *text, int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = address(text)};
}

const char *inside_address(unsigned slot)
{
    static char text[INET_ADDRSTRLEN];
    struct in_addr inside = net_address_inside(INSTANCE, slot);
    return inet_ntop(AF_INET, &inside, text, sizeof(text));
}

/* A socket that belongs to a namespace, whichever we are in later. */
int socket_in(int netns, int type)
{
    enter(netns);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    enter(scene.host);
    return fd;
}

int server_in(int netns, int type, int port)
{
    int fd = socket_in(netns, type), one = 1;
    struct sockaddr_in any = socket_address("0.0.0.0", port);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 64), 0);
    return fd;
}

int start_connect(int netns, const char *to, int port)
{
    int fd = socket_in(netns, SOCK_STREAM);
    struct sockaddr_in peer = socket_address(to, port);
    assert_int_equal(connect(fd, (struct sockaddr *)&peer, sizeof(peer)), -1);
    assert_int_equal(errno, EINPROGRESS);
    return fd;
}

bool is_connected(int fd, int wait_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    int error = -1;
    socklen_t len = sizeof(error);
    if (poll(&poll_fd, 1, wait_ms) != 1)
        return false;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    return error == 0;
}

void must_wait_for(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
}

/* The next connection to a server; it must have been made to `to`. */
int accept_as(int server, const char *to)
{
    char text[INET_ADDRSTRLEN];
    struct sockaddr_in own;
    socklen_t len = sizeof(own);
    must_wait_for(server);
    int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    assert_string_equal(inet_ntop(AF_INET, &own.sin_addr, text, sizeof(text)), to);
    return fd;
}

/* A whole connection, from a namespace to a server that is our own. */
void must_connect(int netns, const char *to, int port, int server)
{
    int fd = start_connect(netns, to, port);
    assert_true(is_connected(fd, PATIENCE_MS));
    close(accept_as(server, to));
    close(fd);
}

void send_text(int netns, const char *from, const char *to, int port, const char *text)
{
    int fd = socket_in(netns, SOCK_DGRAM);
    struct sockaddr_in peer = socket_address(to, port);
    if (from != NULL) {
        struct sockaddr_in own = socket_address(from, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
    }
    ssize_t sent = sendto(fd, text, strlen(text), 0, (struct sockaddr *)&peer, sizeof(peer));
    assert_int_equal(sent, (ssize_t)strlen(text));
    close(fd);
}

void must_receive(int server, const char *text)
{
    char got[64] = "";
    must_wait_for(server);
    assert_true(recv(server, got, sizeof(got) - 1, 0) >= 0);
    assert_string_equal(got, text);
}

void must_be_idle(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN | POLLOUT};
    assert_int_equal(poll(&poll_fd, 1, 0), 0);
}

void must_have_no_connection(int server)
{
    assert_int_equal(accept4(server, NULL, NULL, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

/* ---- the scene ---- */

static unsigned index_of(int sock, const char *name)
{
    unsigned index = 0;
    assert_int_equal(netlink_link_index(sock, name, &index), 0);
    return index;
}

static void must_commit(int sock, struct netlink_batch *batch)
{
    struct err err;
    if (netlink_commit(sock, batch, &err) < 0)
        fail_msg("%s", err.message);
}

void add_address(int netns, const char *link, const char *text, unsigned prefix)
{
    struct netlink_batch batch;
    enter(netns);
    int sock = netlink_open(NULL);
    unsigned index = index_of(sock, link);
    netlink_begin(&batch);
    netlink_add_up(&batch, index, false);
    netlink_add_address(&batch, index, address(text), prefix);
    must_commit(sock, &batch);
    close(sock);
    enter(scene.host);
}

static void add_route(int netns, const char *to, unsigned prefix, const char *gateway)
{
    struct netlink_batch batch;
    struct in_addr via = address(gateway);
    enter(netns);
    int sock = netlink_open(NULL);
    netlink_begin(&batch);
    netlink_add_route(&batch, address(to), prefix, index_of(sock, "eth0"), &via);
    must_commit(sock, &batch);
    close(sock);
    enter(scene.host);
}

/* host:eth0 192.0.2.2/24 ---- world:eth0 192.0.2.1, and all other addresses on its loopback. */
static void build_world(void)
{
    struct netlink_batch batch;
    struct netlink_veth cable = {.name = "eth0",
                                 .peer_name = "eth0",
                                 .mac = {2, 0, 0, 0, 0, 2},
                                 .peer_mac = {2, 0, 0, 0, 0, 1},
                                 .mtu = UPLINK_MTU,
                                 .peer_netns = scene.world};
    enter(scene.host);
    int sock = netlink_open(NULL);
    netlink_begin(&batch);
    netlink_add_veth(&batch, &cable);
    must_commit(sock, &batch);
    close(sock);
    add_address(scene.host, "eth0", HOST, 24);
    add_address(scene.host, "lo", HOST_PRIVATE, 32);
    add_address(scene.world, "eth0", "192.0.2.1", 24);
    add_address(scene.world, "lo", SERVER, 32);
    for (size_t i = 0; i < ARRAY_SIZE(closed); i++)
        add_address(scene.world, "lo", closed[i], 32);
    add_address(scene.world, "lo", OPENED, 32);
    add_address(scene.world, "lo", SECOND, 32);
    add_route(scene.host, "0.0.0.0", 0, "192.0.2.1");
    add_route(scene.world, "100.64.112.0", 20, HOST);
}

int new_sandbox(unsigned slot, bool internet)
{
    struct err err;
    int fd = -1;
    if (net_host_sandbox(scene.net, slot, internet, &fd, &err) < 0)
        fail_msg("%s", err.message);
    return fd;
}

/* As a server does at its start, with what it kept of those that run. */
void net_scene_open(const uint32_t marks[NET_SLOTS])
{
    struct err err;
    struct net_options options = {.instance = INSTANCE,
                                  .dns = {address(RESOLVER), address(HOST)},
                                  .dns_count = 2,
                                  .opened = {{ntohl(address(OPENED).s_addr), 32}},
                                  .opened_count = 1,
                                  .relay = scene.relay,
                                  .flows_max = scene.flows_max};
    if (net_host_open(&options, &scene.net, &err) < 0)
        fail_msg("%s", err.message);
    for (unsigned slot = 0; slot < NET_SLOTS; slot++)
        if (marks[slot] != 0)
            net_host_adopt(scene.net, slot, marks[slot], NULL);
    if (net_host_start(scene.net, &err) < 0)
        fail_msg("%s", err.message);
}

void open_net(void)
{
    static const uint32_t none[NET_SLOTS];
    net_scene_open(none);
}

void net_scene_close(uint32_t marks[NET_SLOTS])
{
    for (unsigned slot = 0; slot < NET_SLOTS; slot++)
        marks[slot] = net_host_mark(scene.net, slot);
    net_host_close(scene.net, false);
}

void reopen_net(void)
{
    uint32_t marks[NET_SLOTS];
    net_scene_close(marks);
    net_scene_open(marks);
}

void load_text(const char *text)
{
    struct err err;
    if (nft_load(text, strlen(text), &err) < 0)
        fail_msg("%s", err.message);
}

void net_scene_frame(void)
{
    scene.machine = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    scene.world = new_namespace();
    scene.host = new_namespace();
    build_world();
    scene.tcp = server_in(scene.world, SOCK_STREAM, PORT);
    scene.udp = server_in(scene.world, SOCK_DGRAM, UDP_PORT);
    scene.dns_tcp = server_in(scene.world, SOCK_STREAM, 53);
    scene.dns_udp = server_in(scene.world, SOCK_DGRAM, 53);
}

int net_scene_build(void **state)
{
    net_scene_frame();
    open_net();
    scene.internet = new_sandbox(INTERNET_SLOT, true);
    scene.other = new_sandbox(OTHER_SLOT, true);
    scene.offline = new_sandbox(OFFLINE_SLOT, false);
    return 0;
}
