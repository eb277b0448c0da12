/* SPDX-License-Identifier: Apache-2.0 */
/* Two network namespaces, a veth pair between them, and a listener in each. */
#include "cli/selftest_scene.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "box/ns/netlink.h"

#define PORT_TEXT     ":8099"
#define WORLD_ADDRESS "203.0.113.1"
#define HOST_ADDRESS  "203.0.113.2"
/* Stands for the internet. The documentation ranges are open to sandboxes, for tests like this. */
#define INTERNET_ADDRESS "198.51.100.7"

enum { START_MS = 10000 };

/* One of each kind that the policy closes, all of them the world's; and the host's own. */
static const char *const closed_addresses[] = {"10.1.2.3",        "172.16.5.5",      "192.168.77.7",
                                               "169.254.169.254", "100.100.100.200", "198.18.0.1",
                                               "168.63.129.16"};

const char *const selftest_scene_closed[] = {
    "10.1.2.3" PORT_TEXT,        "172.16.5.5" PORT_TEXT,      "192.168.77.7" PORT_TEXT,
    "169.254.169.254" PORT_TEXT, "100.100.100.200" PORT_TEXT, "198.18.0.1" PORT_TEXT,
    "168.63.129.16" PORT_TEXT,   HOST_ADDRESS PORT_TEXT,      NULL};
const char *const selftest_scene_reachable = INTERNET_ADDRESS PORT_TEXT;
const char *const selftest_scene_resolver = INTERNET_ADDRESS ":53";

static struct in_addr address(const char *text)
{
    struct in_addr result = {0};
    inet_pton(AF_INET, text, &result);
    return result;
}

static int open_own(struct err *err)
{
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_os(err, errno, "open the network namespace") : fd;
}

/* A link of the namespace we are in: up, with addresses. */
static int set_up_link(const char *name, const char *const *addresses, size_t count,
                       unsigned prefix, struct err *err)
{
    _cleanup_close_ int sock = netlink_open(err);
    unsigned index;
    if (sock < 0)
        return sock;
    int rc = netlink_link_index(sock, name, &index);
    if (rc < 0)
        return err_os(err, -rc, "look for link %s", name);
    for (size_t i = 0; rc == 0 && i <= count; i++) {
        struct netlink_batch batch;
        netlink_begin(&batch);
        if (i == 0)
            netlink_add_up(&batch, index, false);
        else
            netlink_add_address(&batch, index, address(addresses[i - 1]), prefix);
        rc = netlink_commit(sock, &batch, err);
    }
    return rc;
}

static int set_up_route(const char *link, const char *gateway, struct err *err)
{
    _cleanup_close_ int sock = netlink_open(err);
    const struct in_addr any = {0}, via = address(gateway);
    struct netlink_batch batch;
    unsigned index;
    if (sock < 0)
        return sock;
    int rc = netlink_link_index(sock, link, &index);
    if (rc < 0)
        return err_os(err, -rc, "look for link %s", link);
    netlink_begin(&batch);
    netlink_add_route(&batch, any, 0, index, &via);
    return netlink_commit(sock, &batch, err);
}

static int make_pair(int world, struct err *err)
{
    const struct netlink_veth veth = {.name = "up0",
                                      .peer_name = "eth0",
                                      .mac = {2, 0, 0, 0, 0, 2},
                                      .peer_mac = {2, 0, 0, 0, 0, 1},
                                      .mtu = 1500,
                                      .peer_netns = world};
    _cleanup_close_ int sock = netlink_open(err);
    struct netlink_batch batch;
    if (sock < 0)
        return sock;
    netlink_begin(&batch);
    netlink_add_veth(&batch, &veth);
    return netlink_commit(sock, &batch, err);
}

static int set_up_world(struct err *err)
{
    static const char *const own[] = {WORLD_ADDRESS}, *const internet[] = {INTERNET_ADDRESS};
    int rc = set_up_link("eth0", own, 1, 24, err);
    if (rc == 0)
        rc = set_up_link("lo", internet, 1, 32, err);
    if (rc == 0)
        rc = set_up_link("lo", closed_addresses, ARRAY_SIZE(closed_addresses), 32, err);
    return rc < 0 ? rc : set_up_route("eth0", HOST_ADDRESS, err);
}

static int set_up_host(struct err *err)
{
    static const char *const own[] = {HOST_ADDRESS};
    int rc = set_up_link("lo", NULL, 0, 0, err);
    if (rc == 0)
        rc = set_up_link("up0", own, 1, 24, err);
    return rc < 0 ? rc : set_up_route("up0", WORLD_ADDRESS, err);
}

/* Starts a listener in the present namespace and waits until it serves. */
static int listen_here(int probe_fd, const char *const *where, size_t count, pid_t *ret_pid,
                       int *ret_out, struct err *err)
{
    int out[2];
    const char *argv[2 * 16 + 2] = {"carrel-probe"};
    size_t n = 1;
    for (size_t i = 0; i < count; i++) {
        argv[n++] = "--serve";
        argv[n++] = where[i];
    }
    if (pipe2(out, O_CLOEXEC) < 0)
        return err_os(err, errno, "pipe");
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        char *const environment[] = {NULL};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || dup2(out[1], 1) < 0)
            _exit(71);
        fexecve(probe_fd, (char *const *)(uintptr_t)argv, environment);
        _exit(71);
    }
    close(out[1]);
    _cleanup_close_ int from = out[0];
    if (pid < 0)
        return err_os(err, errno, "fork");
    *ret_pid = pid;
    char word[8];
    struct pollfd p = {from, POLLIN, 0};
    if (poll(&p, 1, START_MS) <= 0 || read(from, word, sizeof word) != 8)
        return err_set(err, ERR_INTERNAL, 0, "a listener does not start");
    *ret_out = TAKE_FD(from);
    return 0;
}

static int listen_abstract(struct selftest_scene *scene, struct err *err)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int n =
        snprintf(scene->abstract_name, sizeof scene->abstract_name, "carrel-selftest-%d", getpid());
    memcpy(name.sun_path + 1, scene->abstract_name, (size_t)n);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    scene->abstract_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (scene->abstract_fd < 0 || bind(scene->abstract_fd, (struct sockaddr *)&name, length) < 0 ||
        listen(scene->abstract_fd, 8) < 0)
        return err_os(err, errno, "listen on an abstract socket");
    return 0;
}

static int enter(int netns, struct err *err)
{
    return setns(netns, CLONE_NEWNET) < 0 ? err_os(err, errno, "enter a network namespace") : 0;
}

/* World and host in turn; ends in the host's namespace. */
static int build(int probe_fd, int world, int host, struct selftest_scene *scene, struct err *err)
{
    static const char *const everywhere[] = {"0.0.0.0" PORT_TEXT};
    const char *where[ARRAY_SIZE(closed_addresses) + 2];
    size_t count = 0;
    for (; selftest_scene_closed[count + 1]; count++)
        where[count] = selftest_scene_closed[count];
    where[count++] = selftest_scene_reachable;
    where[count++] = selftest_scene_resolver;
    int rc = make_pair(world, err), ignored = -1;
    if (rc == 0)
        rc = set_up_host(err);
    if (rc == 0)
        rc = enter(world, err);
    if (rc == 0)
        rc = set_up_world(err);
    if (rc == 0)
        rc = listen_here(probe_fd, where, count, &scene->world, &scene->world_out, err);
    if (enter(host, rc == 0 ? err : NULL) < 0 || rc < 0)
        return rc < 0 ? rc : -EPERM;
    rc = listen_here(probe_fd, everywhere, 1, &scene->host, &ignored, err);
    fd_closep(&ignored);
    return rc < 0 ? rc : listen_abstract(scene, err);
}

int selftest_scene_open(int probe_fd, struct selftest_scene *ret, struct err *err)
{
    *ret = (struct selftest_scene){.world_out = -1, .abstract_fd = -1};
    if (unshare(CLONE_NEWNET) < 0)
        return err_os(err, errno, "make a network namespace");
    _cleanup_close_ int world = open_own(err);
    if (world < 0)
        return world;
    if (unshare(CLONE_NEWNET) < 0)
        return err_os(err, errno, "make a network namespace");
    _cleanup_close_ int host = open_own(err);
    if (host < 0)
        return host;
    int rc = build(probe_fd, world, host, ret, err);
    if (rc < 0)
        selftest_scene_close(ret);
    return rc;
}

void selftest_scene_spoofed(struct selftest_scene *scene, char *out, size_t size)
{
    struct pollfd p = {scene->world_out, POLLIN, 0};
    size_t n = 0;
    while (n + 1 < size && poll(&p, 1, 0) > 0) {
        ssize_t m = read(scene->world_out, out + n, size - 1 - n);
        if (m <= 0)
            break;
        n += (size_t)m;
    }
    out[n] = '\0';
    for (char *c = out; *c; c++)
        if (*c == '\n')
            *c = ' ';
}

static void end(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

void selftest_scene_close(struct selftest_scene *scene)
{
    end(&scene->world);
    end(&scene->host);
    fd_closep(&scene->world_out);
    fd_closep(&scene->abstract_fd);
}
