/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's loop: one message, one box call. */
#include "launcher/launcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "box/box.h"
#include "box/instance.h"
#include "box/ns/net.h"
#include "launcher/embedded.h"
#include "launcher/network.h"
#include "launcher/relay_link.h"
#include "launcher/server_link.h"

/* Creations under way at a time; further requests wait in the socket. */
enum { STARTING_MAX = 64 };

/* Who waits for something. */
struct waiter {
    struct waiter *next;
    char id[32]; /* DESTROY, PARK */
    uint32_t op;
    uint64_t serial;
    uint64_t generation; /* of the connection that asked */
    int64_t since;
    bool again; /* CREATE of one that was parked */
};

/* A CREATE whose id is still being removed. */
struct deferred {
    struct deferred *next;
    uint64_t generation;
    struct launcher_request head;
    char body[];
};

struct launcher {
    const struct launcher_options *options;
    struct box_host *host;
    struct server_link server;
    struct server_request request;
    struct box_network network; /* of the request */
    struct relay_link relay;
    struct in_addr dns[NET_RESOLVERS]; /* of the sandboxes */
    unsigned dns_count;
    struct waiter *waiting; /* for the end of a sandbox */
    struct deferred *deferred;
    size_t deferred_count;
};

static struct launcher_reply reply_to(uint32_t op, uint64_t serial, const char *id)
{
    struct launcher_reply reply = {.version = LAUNCHER_VERSION, .op = op, .serial = serial};
    snprintf(reply.id, sizeof reply.id, "%s", id);
    return reply;
}

static void set_error(struct launcher_reply *reply, const struct err *err)
{
    reply->code = err->code;
    reply->os = err->os;
    snprintf(reply->message, sizeof reply->message, "%s", err->message);
}

/* ---- the egress relay ---- */

/* Sandboxes without rules on names are not known to it. */
static void tell_relay(struct launcher *l, const struct box *box)
{
    const struct box_network *network = box_network(box);
    if (network && network->names_len > 0)
        relay_link_set(&l->relay, box_address(box), box_id(box), network->names,
                       network->names_len);
}

static void tell_relay_gone(struct launcher *l, const struct box *box)
{
    const struct box_network *network = box_network(box);
    if (network && network->names_len > 0)
        relay_link_remove(&l->relay, box_address(box));
}

static void tell_relay_each(void *arg, struct box *box)
{
    tell_relay(arg, box);
}

static void connect_relay(struct launcher *l)
{
    const struct launcher_options *o = l->options;
    if (!relay_link_connect(&l->relay, l->dns, l->dns_count, o->opened, o->opened_count))
        return;
    box_host_each(l->host, tell_relay_each, l);
    relay_link_complete(&l->relay);
}

/* ---- events ---- */

static void on_created(void *arg, struct box *box, const struct err *err)
{
    struct launcher *l = arg;
    struct waiter *waiter = box_owner(box);
    struct launcher_reply reply = reply_to(LAUNCHER_CREATE, waiter->serial, box_id(box));
    long long us = (clock_mono_ns() - waiter->since) / 1000;
    if (err)
        set_error(&reply, err);
    else
        reply.pid = box_pid(box);
    /* Once more, since a relay that came back while it was being made has not heard of it. */
    if (err)
        tell_relay_gone(l, box);
    else
        tell_relay(l, box);
    if (waiter->generation == l->server.generation)
        server_link_send(&l->server, &reply);
    else if (!err && !waiter->again) /* who asked is dead, and his successor has listed already */
        box_destroy(l->host, box);
    free(waiter);
    if (err)
        log_warning("sandbox not made", "id=%s us=%lld error=\"%s\"", box_id(box), us,
                    err->message);
    else
        log_info("sandbox made", "id=%s pid=%d us=%lld", box_id(box), reply.pid, us);
}

/* Answers those who asked to destroy id, or to park it. False if the present server was not among
 * them. */
static bool answer(struct launcher *l, enum launcher_op op, const char *id, const struct err *err)
{
    bool told = false;
    for (struct waiter **link = &l->waiting, *w; (w = *link);) {
        if (w->op != op || strcmp(w->id, id) != 0) {
            link = &w->next;
            continue;
        }
        if (w->generation == l->server.generation) {
            struct launcher_reply reply = reply_to(op, w->serial, id);
            if (err)
                set_error(&reply, err);
            server_link_send(&l->server, &reply);
            told = true;
        }
        *link = w->next;
        free(w);
    }
    return told;
}

static void on_ended(void *arg, struct box *box, bool asked)
{
    struct launcher *l = arg;
    const char *reason = box_end_reason(box);
    if (*reason)
        log_warning("sandbox ended by the disk guard", "id=%s why=\"%s\"", box_id(box), reason);
    else
        log_info("sandbox ended", "id=%s asked=%d", box_id(box), asked);
    struct err err;
    tell_relay_gone(l, box);
    if (box_parking(box))
        return; /* on_parked is next */
    err_set(&err, ERR_NOT_FOUND, 0, "sandbox %s was destroyed meanwhile", box_id(box));
    answer(l, LAUNCHER_PARK, box_id(box), &err);
    if (!answer(l, LAUNCHER_DESTROY, box_id(box), NULL)) {
        struct launcher_reply gone = reply_to(LAUNCHER_GONE, 0, box_id(box));
        snprintf(gone.message, sizeof gone.message, "%s", reason);
        server_link_send(&l->server, &gone);
    }
}

static void on_created_or_failed(void *arg, struct box *box, const struct err *err)
{
    on_created(arg, box, err);
    if (err)
        answer(arg, LAUNCHER_DESTROY, box_id(box), NULL);
}

static void on_snapshotted(void *arg, const char *id, void *owner, const struct err *err)
{
    struct launcher *l = arg;
    struct waiter *waiter = owner;
    struct launcher_reply reply = reply_to(LAUNCHER_SNAPSHOT, waiter->serial, waiter->id);
    long long us = (clock_mono_ns() - waiter->since) / 1000;
    if (err) {
        set_error(&reply, err);
        log_warning("snapshot not made", "id=%s of=%s error=\"%s\"", id, waiter->id, err->message);
    } else {
        log_info("snapshot made", "id=%s of=%s us=%lld", id, waiter->id, us);
    }
    if (waiter->generation == l->server.generation)
        server_link_send(&l->server, &reply);
    free(waiter);
}

/* ---- requests ---- */

static struct waiter *new_waiter(struct launcher *l, const struct launcher_request *request)
{
    struct waiter *waiter = xcalloc(1, sizeof *waiter);
    snprintf(waiter->id, sizeof waiter->id, "%s", request->id);
    waiter->op = request->op;
    waiter->serial = request->serial;
    waiter->generation = l->server.generation;
    waiter->since = clock_mono_ns();
    waiter->again = request->again;
    return waiter;
}

static void defer(struct launcher *l, const struct launcher_request *request, const char *body)
{
    size_t len = request->network_len + request->config_len;
    struct deferred *d = xcalloc(1, sizeof *d + len);
    d->generation = l->server.generation;
    d->head = *request;
    memcpy(d->body, body, len);
    d->next = l->deferred;
    l->deferred = d;
    l->deferred_count++;
}

static void refuse(struct launcher *l, const struct launcher_request *request,
                   const struct err *err)
{
    struct launcher_reply reply = reply_to(request->op, request->serial, request->id);
    set_error(&reply, err);
    server_link_send(&l->server, &reply);
    log_warning("request refused", "op=%u id=%s error=\"%s\"", request->op, request->id,
                err->message);
}

/* The policy that comes with the request, NULL if there is none. False: refused. */
static bool take_network(struct launcher *l, const struct launcher_request *request,
                         const char *body, const struct box_network **ret)
{
    struct err err;
    *ret = NULL;
    if (request->network_len == 0)
        return true;
    if (network_from_message(body, request->network_len, &l->network, &err) < 0) {
        refuse(l, request, &err);
        return false;
    }
    *ret = &l->network;
    return true;
}

static void do_create(struct launcher *l, const struct launcher_request *request, const char *body)
{
    const struct box_network *network;
    if (box_host_is_removing(l->host, request->id)) { /* or parking */
        defer(l, request, body);
        return;
    }
    if (!take_network(l, request, body, &network))
        return;
    const struct box_spec spec = {.id = request->id,
                                  .template_name = request->template_name,
                                  .limits = {.memory_bytes = request->limits.memory_bytes,
                                             .cpu_millis = request->limits.cpu_millis,
                                             .pids = request->limits.pids,
                                             .disk_bytes = request->limits.disk_bytes},
                                  .allow_internet = request->allow_internet,
                                  .network = network,
                                  .base = *request->base ? request->base : NULL,
                                  .again = request->again};
    struct waiter *waiter = new_waiter(l, request);
    struct err err;
    struct box *box;
    if (box_create(l->host, &spec, body + request->network_len, request->config_len, waiter, &box,
                   &err) == 0) {
        tell_relay(l, box);
        return;
    }
    refuse(l, request, &err);
    free(waiter);
}

/* The id is free, or parked: who waited for that goes on. */
static void do_deferred(struct launcher *l, const char *id)
{
    for (struct deferred **link = &l->deferred, *d; (d = *link);) {
        if (strcmp(d->head.id, id) != 0) {
            link = &d->next;
            continue;
        }
        *link = d->next;
        if (d->generation == l->server.generation)
            do_create(l, &d->head, d->body);
        l->deferred_count--;
        free(d);
    }
}

static void on_removed(void *arg, const char *id, const struct err *err)
{
    if (err)
        log_error("sandbox not removed", "id=%s error=\"%s\"", id, err->message);
    do_deferred(arg, id);
}

static void on_parked(void *arg, const char *id, const struct err *err)
{
    if (err)
        log_error("sandbox not parked well", "id=%s error=\"%s\"", id, err->message);
    answer(arg, LAUNCHER_PARK, id, err);
    do_deferred(arg, id);
}

static void do_park(struct launcher *l, const struct launcher_request *request)
{
    struct box *box = box_host_find(l->host, request->id);
    struct err err;
    int rc = 0;
    if (!box || (!box_running(box) && !box_parking(box)))
        rc = err_set(&err, ERR_NOT_FOUND, 0, "sandbox %s does not run", request->id);
    else if (!box_parking(box))
        rc = box_park(l->host, box, &err);
    if (rc < 0) {
        refuse(l, request, &err);
        return;
    }
    struct waiter *waiter = new_waiter(l, request);
    waiter->next = l->waiting;
    l->waiting = waiter;
    if (box_parked(box))
        answer(l, LAUNCHER_PARK, request->id, NULL);
}

static void do_snapshot(struct launcher *l, const struct launcher_request *request)
{
    struct box *box = box_host_find(l->host, request->id);
    struct waiter *waiter = new_waiter(l, request);
    struct err err;
    int rc;
    if (!box || !box_running(box))
        rc = err_set(&err, ERR_NOT_FOUND, 0, "sandbox %s does not run", request->id);
    else
        rc = box_snapshot(l->host, box, request->base, waiter, &err);
    if (rc < 0) {
        refuse(l, request, &err);
        free(waiter);
    }
}

static void do_drop(struct launcher *l, const struct launcher_request *request)
{
    struct launcher_reply reply = reply_to(LAUNCHER_DROP, request->serial, request->id);
    struct err err;
    if (box_host_drop(l->host, request->id, &err) < 0)
        set_error(&reply, &err);
    server_link_send(&l->server, &reply);
}

static void do_destroy(struct launcher *l, const struct launcher_request *request)
{
    struct box *box = box_host_find(l->host, request->id);
    if (!box) {
        const struct launcher_reply reply =
            reply_to(LAUNCHER_DESTROY, request->serial, request->id);
        server_link_send(&l->server, &reply);
        return;
    }
    struct waiter *waiter = new_waiter(l, request);
    waiter->next = l->waiting;
    l->waiting = waiter;
    box_destroy(l->host, box);
}

static int change_network(struct launcher *l, struct box *box, const struct box_network *network,
                          struct err *err)
{
    bool had_names = box_network(box) && box_network(box)->names_len > 0;
    int rc = box_set_network(l->host, box, network, err);
    if (rc < 0)
        return rc;
    if (network && network->names_len > 0)
        tell_relay(l, box);
    else if (had_names)
        relay_link_remove(&l->relay, box_address(box));
    return 0;
}

static void do_network(struct launcher *l, const struct launcher_request *request)
{
    struct box *box = box_host_find(l->host, request->id);
    const struct box_network *network;
    struct err err;
    if (!take_network(l, request, l->request.body, &network))
        return;
    int rc;
    if (!box || !box_running(box))
        rc = err_set(&err, ERR_NOT_FOUND, 0, "sandbox %s does not run", request->id);
    else
        rc = change_network(l, box, network, &err);
    if (rc < 0) {
        refuse(l, request, &err);
        return;
    }
    log_info("network changed", "id=%s", request->id);
    const struct launcher_reply reply = reply_to(LAUNCHER_NETWORK, request->serial, request->id);
    server_link_send(&l->server, &reply);
}

/* FREEZE, THAW and USAGE: of a running sandbox, answered at once. */
static void do_now(struct launcher *l, const struct launcher_request *request)
{
    struct launcher_reply reply = reply_to(request->op, request->serial, request->id);
    struct box *box = box_host_find(l->host, request->id);
    struct err err = {0};
    struct box_usage usage = {0};
    int rc;
    if (!box || !box_running(box))
        rc = err_set(&err, ERR_NOT_FOUND, 0, "sandbox %s does not run", request->id);
    else if (request->op == LAUNCHER_USAGE)
        rc = box_usage(l->host, box, &usage, &err);
    else
        rc = box_freeze(l->host, box, request->op == LAUNCHER_FREEZE, &err);
    if (rc < 0)
        set_error(&reply, &err);
    reply.usage = (struct launcher_usage){.cpu_ns = usage.cpu_ns,
                                          .memory_bytes = usage.memory_bytes,
                                          .cache_bytes = usage.cache_bytes,
                                          .disk_bytes = usage.disk_bytes,
                                          .pids = usage.pids,
                                          .oom_kills = usage.oom_kills};
    server_link_send(&l->server, &reply);
}

static void list_as(struct launcher *l, const struct box *box, enum launcher_state state)
{
    struct launcher_reply reply = reply_to(LAUNCHER_LIST, l->request.head.serial, box_id(box));
    reply.pid = box_pid(box);
    reply.state = state;
    reply.more = 1;
    snprintf(reply.template_name, sizeof reply.template_name, "%s", box_template(box));
    server_link_send(&l->server, &reply);
}

static void list_running(void *arg, struct box *box)
{
    list_as(arg, box, box_frozen(box) ? LAUNCHER_FROZEN : LAUNCHER_RUNNING);
}

static void list_parked(void *arg, struct box *box)
{
    list_as(arg, box, LAUNCHER_PARKED);
}

static void list_snapshot(void *arg, const char *id)
{
    struct launcher *l = arg;
    struct launcher_reply reply = reply_to(LAUNCHER_LIST, l->request.head.serial, id);
    reply.state = LAUNCHER_IS_SNAPSHOT;
    reply.more = 1;
    server_link_send(&l->server, &reply);
}

static void do_list(struct launcher *l, const struct launcher_request *request)
{
    box_host_each(l->host, list_running, l);
    box_host_each_parked(l->host, list_parked, l);
    box_host_each_snapshot(l->host, list_snapshot, l);
    const struct launcher_reply last = reply_to(LAUNCHER_LIST, request->serial, "");
    server_link_send(&l->server, &last);
}

static void refuse_text(struct launcher *l, const struct launcher_request *request, const char *why)
{
    struct err err;
    err_set(&err, ERR_INVALID, 0, "%s", why);
    refuse(l, request, &err);
}

static void do_request(struct launcher *l)
{
    const struct launcher_request *request = &l->request.head;
    if (request->op != LAUNCHER_LIST && !box_id_valid(request->id)) {
        refuse_text(l, request, "malformed sandbox id");
        return;
    }
    switch (request->op) {
    case LAUNCHER_CREATE:
        do_create(l, request, l->request.body);
        break;
    case LAUNCHER_DESTROY:
        do_destroy(l, request);
        break;
    case LAUNCHER_FREEZE:
    case LAUNCHER_THAW:
    case LAUNCHER_USAGE:
        do_now(l, request);
        break;
    case LAUNCHER_NETWORK:
        do_network(l, request);
        break;
    case LAUNCHER_PARK:
        do_park(l, request);
        break;
    case LAUNCHER_SNAPSHOT:
        do_snapshot(l, request);
        break;
    case LAUNCHER_DROP:
        do_drop(l, request);
        break;
    case LAUNCHER_LIST:
        do_list(l, request);
        break;
    default:
        refuse_text(l, request, "unknown operation");
    }
}

static bool may_read(const struct launcher *l)
{
    return !server_link_waiting(&l->server) &&
           box_host_starting(l->host) + l->deferred_count < STARTING_MAX;
}

static void read_requests(struct launcher *l)
{
    while (l->server.fd >= 0 && may_read(l)) {
        int rc = server_link_read(&l->server, &l->request);
        if (rc > 0)
            do_request(l);
        else if (rc == 0)
            return;
        else
            log_info("server gone", "error=\"%s\"", strerror(-rc));
    }
}

/* ---- set-up and loop ---- */

static int make_state(const struct launcher_options *o, struct err *err)
{
    int rc = path_make_dirs(o->state_dir, 0755);
    if (rc == 0)
        rc = path_make_dirs(o->run_dir, 0755);
    return rc < 0 ? err_os(err, -rc, "make %s and %s", o->state_dir, o->run_dir) : 0;
}

static int open_host(struct launcher *l, unsigned instance, struct err *err)
{
    const struct launcher_options *o = l->options;
    struct box_host_options options = {.state_dir = o->state_dir,
                                       .run_dir = o->run_dir,
                                       .templates_dir = o->templates_dir,
                                       .cgroup_parent =
                                           o->cgroup_parent ? o->cgroup_parent : "carrel",
                                       .instance = instance,
                                       .server_gid = o->server_gid,
                                       .image = o->image,
                                       .image_size = o->image_size,
                                       .dns_count = o->dns_count,
                                       .opened_count = o->opened_count,
                                       .ca_bundle = o->ca_bundle,
                                       .disk = o->disk,
                                       .disk_image_bytes = o->disk_image_bytes,
                                       .net_pool = o->net_pool,
                                       .keep_stderr = o->keep_stderr,
                                       .weaken = o->weaken,
                                       .tamper = o->tamper,
                                       .fail_step = o->fail_step};
    memcpy(options.dns, o->dns, sizeof options.dns);
    memcpy(options.opened, o->opened, sizeof options.opened);
    int rc =
        relay_link_open(&l->relay, o->egress_path, net_address_relay(instance), o->egress_uid, err);
    if (rc < 0)
        return rc;
    options.relay = l->relay.at;
    if (!options.image) {
        options.image = embedded_init;
        options.image_size = (size_t)(embedded_init_end - embedded_init);
    }
    if (!options.image_size)
        return err_set(err, ERR_UNIMPLEMENTED, 0, "this build has no init program in it");
    if (!options.dns_count) {
        int count = net_resolvers(options.dns);
        options.dns_count = count > 0 ? (unsigned)count : 0;
    }
    memcpy(l->dns, options.dns, sizeof l->dns);
    l->dns_count = options.dns_count;
    const struct box_events events = {
        .arg = l, .created = on_created_or_failed, .ended = on_ended, .removed = on_removed,
        .parked = on_parked, .snapshotted = on_snapshotted};
    return box_host_open(&options, &events, &l->host, err);
}

enum { POLL_HOST, POLL_SIGNAL, POLL_LISTEN, POLL_SERVER, POLL_RELAY, POLLS };
enum { RELAY_RETRY_MS = 500 };

static void loop(struct launcher *l, int signal_fd)
{
    struct pollfd polls[POLLS] = {[POLL_HOST] = {box_host_fd(l->host), POLLIN, 0},
                                  [POLL_SIGNAL] = {signal_fd, POLLIN, 0},
                                  [POLL_LISTEN] = {l->options->listen_fd, POLLIN, 0}};
    for (;;) {
        short events =
            (short)((may_read(l) ? POLLIN : 0) | (server_link_waiting(&l->server) ? POLLOUT : 0));
        polls[POLL_SERVER] = (struct pollfd){l->server.fd, events, 0};
        connect_relay(l);
        polls[POLL_RELAY] = (struct pollfd){l->relay.fd, relay_link_events(&l->relay), 0};
        int wait_ms = l->relay.path && l->relay.fd < 0 ? RELAY_RETRY_MS : -1;
        if (poll(polls, POLLS, wait_ms) < 0 && errno != EINTR) {
            log_error("poll", "error=\"%s\"", strerror(errno));
            return;
        }
        if (polls[POLL_SIGNAL].revents)
            return;
        if (polls[POLL_RELAY].revents)
            relay_link_step(&l->relay);
        if (polls[POLL_HOST].revents)
            box_host_step(l->host);
        if (polls[POLL_SERVER].revents & POLLOUT)
            server_link_flush(&l->server);
        if (polls[POLL_SERVER].revents & (POLLIN | POLLHUP | POLLERR))
            read_requests(l);
        if (polls[POLL_LISTEN].revents) {
            int rc = server_link_accept(&l->server, l->options->listen_fd, l->options->server_uid);
            if (rc == 0)
                log_info("server connected", "connection=%llu",
                         (unsigned long long)l->server.generation);
            else if (rc != -EAGAIN)
                log_warning("connection refused", "error=\"%s\"", strerror(-rc));
        }
    }
}

static int open_signals(void)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &stop, SFD_CLOEXEC);
}

static void tell_network(const struct launcher *l, unsigned instance)
{
    const struct net_facts *facts = box_host_network(l->host);
    log_info("launcher ready", "instance=%u uplink=%s mtu=%u", instance,
             *facts->uplink ? facts->uplink : "none", facts->mtu);
    if (facts->forwarding_changed)
        log_info("IPv4 forwarding switched on", "link=%s", facts->uplink);
    if (*facts->forward_drop)
        log_warning("sandboxes may not get out: forwarded packets are dropped by policy",
                    "chain=\"%s\"", facts->forward_drop);
}

struct renewal {
    struct launcher *launcher;
    unsigned renewed;
};

static void renew_agent(void *arg, struct box *box)
{
    struct renewal *renewal = arg;
    struct err err;
    int rc = box_renew_agent(renewal->launcher->host, box, &err);
    if (rc < 0)
        log_warning("a sandbox keeps its old agent", "id=%s error=\"%s\"", box_id(box), err.message);
    else
        renewal->renewed += (unsigned)rc;
}

/* Sandboxes that an older version has started. */
static void renew_agents(struct launcher *l)
{
    struct renewal renewal = {.launcher = l};
    box_host_each(l->host, renew_agent, &renewal);
    if (renewal.renewed)
        log_info("sandboxes have got a newer agent", "count=%u", renewal.renewed);
}

static void tell_disk(const struct launcher *l)
{
    const char *why;
    bool binds;
    const char *name = box_host_disk(l->host, &binds, &why);
    if (binds)
        log_info("disk limits bind", "by=\"%s\"", name);
    else
        log_warning("DISK LIMITS DO NOT BIND: sandboxes may fill the disk", "instead=%s why=\"%s\"",
                    name, why);
}

static int run(struct launcher *l, struct err *err)
{
    const struct launcher_options *o = l->options;
    _cleanup_close_ int lock = -1, signal_fd = open_signals();
    unsigned instance = (unsigned)o->instance;
    int rc = make_state(o, err);
    if (rc == 0 && o->instance < 0)
        rc = instance_claim(INSTANCE_DIR, o->state_dir, &instance, &lock, err);
    if (rc == 0)
        rc = open_host(l, instance, err);
    if (rc < 0)
        return rc;
    if (o->weaken)
        log_error("THE WALLS OF THE SANDBOXES ARE TAKEN DOWN, for a test", "weaken=0x%x",
                  o->weaken);
    tell_network(l, instance);
    renew_agents(l);
    tell_disk(l);
    if (o->ready_fd >= 0 && fd_write_all(o->ready_fd, "", 1) < 0)
        log_warning("nobody waits for the launcher", "fd=%d", o->ready_fd);
    loop(l, signal_fd);
    return 0;
}

int launcher_main(const struct launcher_options *options)
{
    umask(022);
    struct launcher *l = xcalloc(1, sizeof *l);
    l->options = options;
    l->server.fd = -1;
    struct err err;
    int rc = run(l, &err);
    if (rc < 0)
        log_error("launcher", "error=\"%s\"", err.message);
    /* First the connection: removals that end now have nobody to tell. */
    server_link_close(&l->server);
    box_host_close(l->host);
    relay_link_close(&l->relay);
    for (struct waiter *w; (w = l->waiting);) {
        l->waiting = w->next;
        free(w);
    }
    for (struct deferred *d; (d = l->deferred);) {
        l->deferred = d->next;
        free(d);
    }
    free(l);
    return rc < 0 ? err_exit_status(err.code) : 0;
}
