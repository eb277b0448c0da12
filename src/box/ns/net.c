/* SPDX-License-Identifier: Apache-2.0 */
/* Sandbox networks: addresses, namespaces, the pair that joins them to the host.
 *
 * All is done by one thread of its own, which enters each namespace while it makes it: whatever
 * fails in between, the caller's thread has never left its namespace. That costs 25 us of the 450
 * which a namespace takes. */
#include "box/ns/net.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"
#include "box/ns/net-internal.h"
#include "box/ns/netlink.h"
#include "box/ns/nft.h"
#include "box/ns/nft_change.h"
#include "box/worker.h"

enum {
    DEFAULT_MTU = 1500,
    GENERATIONS = 26 * 26 * 26,
    NAME_TRIES = 64,
    REMOVAL_MAX = 256,
    MEND_MS = 200,      /* between attempts to make lost rules again */
    LOOPBACK_INDEX = 1, /* in every network namespace */
};

/* ---- numbers and names ---- */

static struct in_addr address_from(uint32_t host_order)
{
    return (struct in_addr){htonl(host_order)};
}

struct in_addr net_subnet(unsigned instance)
{
    assert(instance < NET_INSTANCES);
    return address_from((UINT32_C(100) << 24) | (UINT32_C(64) << 16) | (instance * 16U << 8));
}

/* A /31 per slot (RFC 3021): even is the gateway, odd the sandbox. */
struct in_addr net_address_gateway(unsigned instance, unsigned slot)
{
    assert(slot < NET_SLOTS);
    return address_from(ntohl(net_subnet(instance).s_addr) + 2 * slot);
}

/* Behind the last instance's subnet. */
struct in_addr net_address_relay(unsigned instance)
{
    return address_from(ntohl(net_subnet(0).s_addr) + (NET_INSTANCES * 16U << 8) + instance);
}

struct in_addr net_address_inside(unsigned instance, unsigned slot)
{
    return address_from(ntohl(net_address_gateway(instance, slot).s_addr) + 1);
}

void net_link_name(unsigned instance, unsigned slot, unsigned generation, char out[IFNAMSIZ])
{
    (void)snprintf(out, IFNAMSIZ, "cr%u-%u%c%c%c", instance, slot,
                   (int)('a' + generation / 676 % 26), (int)('a' + generation / 26 % 26),
                   (int)('a' + generation % 26));
}

/* Locally administered, and chosen by us, so that udev does not replace it and both ends can know
 * each other without ARP. */
static void mac_from(struct in_addr address, uint8_t out[NETLINK_MAC])
{
    out[0] = 0x02;
    out[1] = 0xca;
    memcpy(out + 2, &address.s_addr, 4);
}

/* ---- the worker ---- */

static void refresh_after_change(struct net_host *host);

static void wait_for_work(struct net_host *host)
{
    struct pollfd polls[] = {{.fd = host->wake_fd, .events = POLLIN},
                             {.fd = host->monitor_sock, .events = POLLIN},
                             {.fd = host->rules_sock, .events = POLLIN}};
    uint64_t count;
    if (poll(polls, ARRAY_SIZE(polls), host->rules_lost ? MEND_MS : -1) < 0)
        return;
    if (polls[0].revents)
        (void)!read(host->wake_fd, &count, sizeof(count));
    if (polls[1].revents)
        refresh_after_change(host);
    if (polls[2].revents || host->rules_lost) {
        nft_monitor_drain(host->rules_sock);
        net_policy_mend(host);
    }
}

static void set_nice(pid_t tid, int nice)
{
    /* Nothing depends on its success. */
    (void)setpriority(PRIO_PROCESS, (id_t)tid, nice);
}

/* Around what holds no lock of ours: nobody may wait for one whose holder gets no processor. */
static void begin_idle(const struct net_host *host)
{
    if (host->idle)
        set_nice(0, WORKER_NICE);
    if (!host->idle) /* hurried in between */
        set_nice(0, 0);
}

static void end_idle(void)
{
    set_nice(0, 0);
}

void net_host_set_idle(struct net_host *host, bool idle)
{
    host->idle = idle;
    if (!idle)
        set_nice(host->tid, 0);
}

static void *worker(void *argument)
{
    struct net_host *host = argument;
    host->tid = gettid();
    for (;;) {
        pthread_mutex_lock(&host->lock);
        net_job *job = host->job;
        bool stop = host->stop;
        pthread_mutex_unlock(&host->lock);
        if (stop)
            return NULL;
        if (job == NULL) {
            wait_for_work(host);
            continue;
        }
        int r = job(host, host->argument, host->err);
        pthread_mutex_lock(&host->lock);
        host->result = r;
        host->job = NULL;
        pthread_cond_signal(&host->done);
        pthread_mutex_unlock(&host->lock);
    }
}

static void wake(const struct net_host *host)
{
    const uint64_t one = 1;
    ssize_t n = write(host->wake_fd, &one, sizeof(one));
    assert(n == (ssize_t)sizeof(one));
    (void)n;
}

static int run_job(struct net_host *host, net_job *job, void *argument, struct err *err)
{
    pthread_mutex_lock(&host->turn);
    pthread_mutex_lock(&host->lock);
    host->argument = argument;
    host->err = err;
    host->job = job;
    wake(host);
    while (host->job != NULL)
        pthread_cond_wait(&host->done, &host->lock);
    int r = host->result;
    pthread_mutex_unlock(&host->lock);
    pthread_mutex_unlock(&host->turn);
    return r;
}

/* What a client did is never the reason: names of system errors that would read like that
 * ("permission denied", "not found") are made internal ones. */
static int blame_host(const struct err *reason, struct err *err)
{
    struct err told = *reason;
    err_wrap(&told, "network");
    switch (told.os) {
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        told.code = ERR_UNAVAILABLE;
        break;
    default:
        if (told.code != ERR_INVALID && told.code != ERR_UNIMPLEMENTED)
            told.code = ERR_INTERNAL;
        else if (told.os != 0)
            told.code = ERR_INTERNAL;
        break;
    }
    if (err != NULL)
        *err = told;
    return told.os != 0 ? -told.os : -EIO;
}

static int start_worker(struct net_host *host, struct err *err)
{
    /* Signals are the caller's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&host->thread, NULL, worker, host);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r == 0 ? 0 : err_os(err, r, "start the network thread");
}

/* ---- the way out of the host ---- */

/* Writes a switch below /proc/sys/net of the thread's namespace. A kernel without IPv6 lacks some
 * files; what does not exist needs no switching off. */
static int set_switch(const char *path, const char *value, struct err *err)
{
    int r = fd_write_file(AT_FDCWD, path, value);
    return r == 0 || r == -ENOENT ? 0 : err_os(err, -r, "write %s to %s", value, path);
}

/* The kernel asks the device a packet comes from whether it forwards. So the uplink (for answers)
 * and each sandbox's link need it, and the rest of the host does not become a router. */
static int forward_from_uplink(struct net_host *host, struct err *err)
{
    char path[96], now[8] = "";
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/forwarding", host->facts.uplink);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -errno : fd_read_all(fd, now, sizeof(now) - 1);
    if (got < 0)
        return err_os(err, (int)-got, "read %s", path);
    if (now[0] == '1')
        return 0;
    int r = fd_write_file(AT_FDCWD, path, "1");
    if (r < 0)
        return err_os(err, -r, "switch forwarding on: write %s", path);
    host->facts.forwarding_changed = true;
    return 0;
}

/* Finds the uplink, by asking (5 us) where a packet to the internet would go; no packet is sent.
 * Done for each sandbox, because uplinks change while the server runs. */
static int refresh_uplink(struct net_host *host, struct err *err)
{
    const struct in_addr somewhere = address_from(0x01010101);
    unsigned ifindex, route_mtu, mtu = DEFAULT_MTU;
    int r = netlink_route_get(host->route_sock, somewhere, &ifindex, &route_mtu);
    if (r < 0) {
        host->uplink_index = 0;
        host->facts.uplink[0] = '\0';
        host->facts.mtu = DEFAULT_MTU;
        return 0;
    }
    if (ifindex != host->uplink_index) {
        r = netlink_link_name(host->route_sock, ifindex, host->facts.uplink);
        if (r == 0)
            r = forward_from_uplink(host, err);
        else
            err_os(err, -r, "name of link %u", ifindex);
        if (r < 0)
            return r;
        host->uplink_index = ifindex;
    }
    r = netlink_link_mtu(host->route_sock, host->facts.uplink, &mtu);
    if (r < 0)
        return err_os(err, -r, "MTU of %s", host->facts.uplink);
    if (route_mtu > 0 && route_mtu < mtu)
        mtu = route_mtu;
    host->facts.mtu = mtu > UINT16_MAX ? UINT16_MAX : mtu; /* loopback has 65536, veth 65535 */
    return 0;
}

/* Routes have changed; those of sandboxes' links do so all the time. Events are not counted: when
 * some were lost, others were not. */
static void refresh_after_change(struct net_host *host)
{
    bool any = false;
    for (;;) {
        _Alignas(8) char events[8192];
        ssize_t got = recv(host->monitor_sock, events, sizeof(events), MSG_DONTWAIT);
        if (got < 0 && errno != ENOBUFS)
            break;
        any = any || got < 0 || netlink_tells_default_route(events, (size_t)got);
    }
    struct err err;
    if (any && refresh_uplink(host, &err) < 0)
        host->uplink_index = 0; /* looked for again with the next sandbox */
}

/* ---- a sandbox's namespace ---- */

struct sandbox_job {
    unsigned slot;
    bool internet;
    int netns;       /* the namespace made */
    int inside_sock; /* a route socket in it */
    char link[IFNAMSIZ];
};

/* The rest of a namespace's set-up that is done by files of /proc. They belong to root outside, so
 * nobody inside can change them back. */
static int set_inside_switches(const struct sandbox_job *job, struct err *err)
{
    int r = set_switch("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0", err);
    if (r == 0)
        r = set_switch("/proc/sys/net/ipv4/ping_group_range", "0 2147483647", err);
    if (r == 0 && job->internet) /* before eth0 is born; loopback keeps ::1 */
        r = set_switch("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1", err);
    return r;
}

/* In the new namespace: descriptors to it. The thread goes home again in any case, and a thread
 * that cannot would make the next sandbox's host side in this sandbox. */
static int make_namespace(struct net_host *host, struct sandbox_job *job, struct err *err)
{
    if (unshare(CLONE_NEWNET) < 0)
        return err_os(err, errno, "make a network namespace");
    int r = set_inside_switches(job, err);
    if (r == 0) {
        job->netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (job->netns < 0)
            r = err_os(err, errno, "open the network namespace");
    }
    if (r == 0) {
        job->inside_sock = netlink_open(err);
        r = job->inside_sock < 0 ? job->inside_sock : 0;
    }
    int back = setns(host->home, CLONE_NEWNET);
    assert(back == 0);
    (void)back;
    return r;
}

/* Creates the pair under the slot's next name. Only a pair that is still being removed, or one that
 * an earlier run of the server made, can have it already; so the next one is tried. */
static int make_pair(struct net_host *host, struct sandbox_job *job, struct err *err)
{
    unsigned instance = host->options.instance;
    struct netlink_veth veth = {
        .name = job->link, .peer_name = "eth0", .mtu = host->facts.mtu, .peer_netns = job->netns};
    mac_from(net_address_gateway(instance, job->slot), veth.mac);
    mac_from(net_address_inside(instance, job->slot), veth.peer_mac);
    for (int tries = 1;; tries++) {
        struct netlink_batch batch;
        host->generation = (uint16_t)((host->generation + 1) % GENERATIONS);
        net_link_name(instance, job->slot, host->generation, job->link);
        netlink_begin(&batch);
        netlink_add_veth(&batch, &veth);
        int r = netlink_commit(host->route_sock, &batch, err);
        if (r != -EEXIST || tries == NAME_TRIES)
            return r;
    }
}

/* The host's end has no address: a route to the sandbox's replaces that of the slot's last link at
 * once. And no IPv6, which would speak on its own as soon as the link is up. */
static int set_host_end(struct net_host *host, const struct sandbox_job *job, struct err *err)
{
    struct in_addr inside = net_address_inside(host->options.instance, job->slot);
    uint8_t mac[NETLINK_MAC];
    char path[96];
    unsigned ifindex;
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", job->link);
    int r = set_switch(path, "1", err);
    if (r < 0)
        return r;
    r = netlink_link_index(host->route_sock, job->link, &ifindex);
    if (r < 0)
        return err_os(err, -r, "index of %s", job->link);
    mac_from(inside, mac);
    struct netlink_batch batch;
    netlink_begin(&batch);
    netlink_add_up(&batch, ifindex, true);
    netlink_add_route(&batch, inside, 32, ifindex, NULL);
    netlink_add_neighbour(&batch, ifindex, inside, mac);
    r = netlink_commit(host->route_sock, &batch, err);
    return r < 0 ? err_wrap(err, job->link) : 0;
}

static int set_inside_end(struct net_host *host, const struct sandbox_job *job, struct err *err)
{
    struct netlink_batch batch;
    netlink_begin(&batch);
    netlink_add_up(&batch, LOOPBACK_INDEX, false);
    if (job->internet) {
        struct in_addr gateway = net_address_gateway(host->options.instance, job->slot);
        struct in_addr inside = net_address_inside(host->options.instance, job->slot);
        uint8_t mac[NETLINK_MAC];
        unsigned ifindex;
        int r = netlink_link_index(job->inside_sock, "eth0", &ifindex);
        if (r < 0)
            return err_os(err, -r, "index of eth0");
        mac_from(gateway, mac);
        netlink_add_up(&batch, ifindex, false);
        netlink_add_address(&batch, ifindex, inside, 31);
        netlink_add_neighbour(&batch, ifindex, gateway, mac);
        netlink_add_route(&batch, (struct in_addr){0}, 0, ifindex, &gateway);
    }
    int r = netlink_commit(job->inside_sock, &batch, err);
    return r < 0 ? err_wrap(err, "inside") : 0;
}

/* The host's side of a sandbox with internet, and then the inner one. */
static int connect_namespace(struct net_host *host, struct sandbox_job *job, struct err *err)
{
    int r = refresh_uplink(host, err);
    if (r == 0)
        r = make_pair(host, job, err);
    if (r == 0)
        r = set_host_end(host, job, err);
    if (r == 0)
        r = set_inside_end(host, job, err);
    if (r < 0)
        return r;
    r = netlink_link_settle(host->route_sock, job->link);
    if (r < 0)
        return err_os(err, -r, "wait for %s", job->link);
    end_idle();
    return net_policy_enter(host, job->slot, err);
}

/* A half-made namespace goes with its descriptors, and a pair with it. */
static int sandbox_job(struct net_host *host, void *argument, struct err *err)
{
    struct sandbox_job *job = argument;
    begin_idle(host);
    int r = make_namespace(host, job, err);
    if (r == 0)
        r = job->internet ? connect_namespace(host, job, err) : set_inside_end(host, job, err);
    end_idle();
    fd_closep(&job->inside_sock);
    if (r < 0)
        fd_closep(&job->netns);
    return r;
}

int net_host_sandbox(struct net_host *host, unsigned slot, bool allow_internet, int *ret_netns_fd,
                     struct err *err)
{
    assert(slot < NET_SLOTS);
    struct sandbox_job job = {
        .slot = slot, .internet = allow_internet, .netns = -1, .inside_sock = -1};
    struct err reason;
    net_host_release(host, slot); /* what another one may have left */
    if (run_job(host, sandbox_job, &job, &reason) < 0)
        return blame_host(&reason, err);
    *ret_netns_fd = job.netns;
    return 0;
}

/* A namespace that lives, entered for as long as its switches and a socket take. */
static int join_job(struct net_host *host, void *argument, struct err *err)
{
    struct sandbox_job *job = argument;
    if (setns(job->netns, CLONE_NEWNET) < 0)
        return err_os(err, errno, "enter the network namespace");
    int r = set_inside_switches(job, err);
    if (r == 0) {
        job->inside_sock = netlink_open(err);
        r = job->inside_sock < 0 ? job->inside_sock : 0;
    }
    int back = setns(host->home, CLONE_NEWNET);
    assert(back == 0);
    (void)back;
    if (r == 0)
        r = connect_namespace(host, job, err);
    fd_closep(&job->inside_sock);
    return r;
}

int net_host_connect(struct net_host *host, unsigned slot, int netns_fd, struct err *err)
{
    assert(slot < NET_SLOTS);
    struct sandbox_job job = {.slot = slot, .internet = true, .netns = netns_fd, .inside_sock = -1};
    struct err reason;
    return run_job(host, join_job, &job, &reason) < 0 ? blame_host(&reason, err) : 0;
}

/* ---- open and close ---- */

static int open_job(struct net_host *host, void *argument, struct err *err)
{
    (void)argument;
    host->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (host->home < 0)
        return err_os(err, errno, "open the host's network namespace");
    host->route_sock = netlink_open(err);
    if (host->route_sock < 0)
        return host->route_sock;
    host->nft_sock = nft_change_open(err);
    return host->nft_sock < 0 ? host->nft_sock : 0;
}

static int put_relay_address(struct net_host *host, struct err *err)
{
    struct netlink_batch batch;
    netlink_begin(&batch);
    netlink_add_up(&batch, LOOPBACK_INDEX, false);
    netlink_add_host_address(&batch, LOOPBACK_INDEX, net_address_relay(host->options.instance));
    return netlink_commit(host->route_sock, &batch, err);
}

static int start_job(struct net_host *host, void *argument, struct err *err)
{
    (void)argument;
    int r = net_policy_load(host, err);
    /* Forwarding comes after the rules: never one without the other. */
    if (r == 0)
        r = refresh_uplink(host, err);
    if (r == 0 && host->options.relay.https != 0)
        r = put_relay_address(host, err);
    if (r < 0)
        return r;
    nft_forward_drop(host->facts.forward_drop, sizeof(host->facts.forward_drop));
    host->monitor_sock = netlink_monitor_routes(err);
    if (host->monitor_sock < 0)
        return host->monitor_sock;
    host->rules_sock = nft_monitor_open(err);
    return host->rules_sock < 0 ? host->rules_sock : 0;
}

static int remove_job(struct net_host *host, void *argument, struct err *err)
{
    (void)argument;
    struct buf text;
    fd_closep(&host->rules_sock); /* it is us who take them away */
    buf_init(&text, REMOVAL_MAX);
    int r = nft_remove_text(host->options.instance, &text);
    assert(r == 0);
    r = nft_load(buf_ptr(&text), buf_len(&text), err);
    buf_done(&text);
    if (host->options.relay.https != 0)
        netlink_remove_address(host->route_sock, LOOPBACK_INDEX,
                               net_address_relay(host->options.instance));
    return r;
}

static int check_options(const struct net_options *options, struct err *err)
{
    if (options->instance >= NET_INSTANCES)
        return err_set(err, ERR_INVALID, 0, "instance %u is not 0 to %d", options->instance,
                       NET_INSTANCES - 1);
    if (options->dns_count > NET_RESOLVERS)
        return err_set(err, ERR_INVALID, 0, "%u resolvers are more than %d", options->dns_count,
                       NET_RESOLVERS);
    return 0;
}

int net_host_open(const struct net_options *options, struct net_host **ret, struct err *err)
{
    int r = check_options(options, err);
    if (r < 0)
        return r;
    struct net_host *host = xcalloc(1, sizeof(*host));
    host->options = *options;
    random_bytes(&host->generation, sizeof(host->generation));
    random_bytes(&host->next_mark, sizeof(host->next_mark));
    host->home = host->route_sock = host->nft_sock = -1;
    host->monitor_sock = host->rules_sock = -1;
    pthread_mutex_init(&host->lock, NULL);
    pthread_mutex_init(&host->turn, NULL);
    pthread_mutex_init(&host->rules, NULL);
    pthread_cond_init(&host->done, NULL);
    host->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = host->wake_fd < 0 ? err_os(err, errno, "eventfd") : start_worker(host, err);
    if (r < 0) {
        fd_closep(&host->wake_fd);
        free(host);
        return r;
    }
    struct err reason;
    if (run_job(host, open_job, NULL, &reason) < 0) {
        net_host_close(host, false);
        return blame_host(&reason, err);
    }
    *ret = host;
    return 0;
}

int net_host_start(struct net_host *host, struct err *err)
{
    struct err reason;
    return run_job(host, start_job, NULL, &reason) < 0 ? blame_host(&reason, err) : 0;
}

void net_host_close(struct net_host *host, bool remove_rules)
{
    if (host == NULL)
        return;
    if (remove_rules && host->route_sock >= 0)
        (void)run_job(host, remove_job, NULL, NULL);
    pthread_mutex_lock(&host->lock);
    host->stop = true;
    pthread_mutex_unlock(&host->lock);
    wake(host);
    pthread_join(host->thread, NULL);
    pthread_cond_destroy(&host->done);
    pthread_mutex_destroy(&host->lock);
    pthread_mutex_destroy(&host->turn);
    pthread_mutex_destroy(&host->rules);
    int *const fds[] = {&host->wake_fd,      &host->route_sock, &host->nft_sock,
                        &host->monitor_sock, &host->rules_sock, &host->home};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fd_closep(fds[i]);
    for (size_t i = 0; i < NET_SLOTS; i++)
        free(host->slots[i].network);
    free(host);
}

const struct net_facts *net_host_facts(const struct net_host *host)
{
    return &host->facts;
}
