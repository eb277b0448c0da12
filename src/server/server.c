/* SPDX-License-Identifier: Apache-2.0 */
/* Start, readiness and end of the server process. */
#include "server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "http/edge.h"
#include "http/loop.h"
#include "http/server.h"
#include "server/api.h"
#include "server/key.h"
#include "server/launcher_link.h"
#include "server/limit.h"
#include "server/observe.h"
#include "server/pool.h"
#include "server/proxy.h"
#include "server/route.h"
#include "server/sample.h"
#include "server/sandbox.h"
#include "server/sandbox_list.h"
#include "server/snapshot.h"
#include "server/store.h"
#include "server/turn.h"

enum {
    SWEEP_MS = 30 * 1000,
    STOP_STEP_MS = 20,
    STOP_HANDOVER_MS = 4000, /* calls get that long when another server waits, */
    STOP_TRAFFIC_MS = 500,   /* and traffic of sandboxes, which may have no end */
    STOP_KILLING_MS = 30 * 1000, /* --ephemeral: how long destroying everything may take */
    FDS_SPARE = 256,             /* descriptors that are not connections */
};
#define IDLE_LIMIT (610 * CLOCK_S) /* of a kept-alive connection between requests */
#define HEAD_LIMIT (30 * CLOCK_S)

/* ---- addresses ---- */

int server_port(int listen_fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(listen_fd, (struct sockaddr *)&address, &size) < 0)
        return -errno;
    if (address.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return -EAFNOSUPPORT;
}

int server_url(int listen_fd, char *ret, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[INET6_ADDRSTRLEN];
    int port = server_port(listen_fd);
    if (port < 0)
        return port;
    if (getsockname(listen_fd, (struct sockaddr *)&address, &length) < 0)
        return -errno;
    if (address.ss_family == AF_INET6) {
        struct in6_addr *ip = &((struct sockaddr_in6 *)&address)->sin6_addr;
        if (IN6_IS_ADDR_UNSPECIFIED(ip))
            *ip = in6addr_loopback;
        inet_ntop(AF_INET6, ip, host, sizeof host);
        snprintf(ret, size, "http://[%s]:%d", host, port);
    } else {
        struct in_addr *ip = &((struct sockaddr_in *)&address)->sin_addr;
        if (ip->s_addr == htonl(INADDR_ANY))
            ip->s_addr = htonl(INADDR_LOOPBACK);
        inet_ntop(AF_INET, ip, host, sizeof host);
        snprintf(ret, size, "http://%s:%d", host, port);
    }
    return 0;
}

char *server_state_dir(const struct config *config)
{
    return path_join(config->state, "server");
}

void server_print_exports(FILE *out, const char *key, const char *url)
{
    if (key)
        fprintf(out, "export E2B_API_KEY=%s\n", key);
    fprintf(out, "export E2B_API_URL=%s\nexport E2B_SANDBOX_URL=%s\n", url, url);
    fflush(out);
}

void server_print_domain(FILE *out, const char *key, const char *domain)
{
    if (key)
        fprintf(out, "export E2B_API_KEY=%s\n", key);
    fprintf(out, "export E2B_DOMAIN=%s\n", domain);
    fflush(out);
}

/* ---- requests ---- */

static void on_request(struct http_exchange *x, void *arg)
{
    struct server *server = arg;
    struct route route;
    route_request(http_exchange_request(x), &route);
    if (route.kind == ROUTE_API)
        api_handle(server, x);
    else
        proxy_handle(server, x, &route);
}

/* As many descriptors as the hard limit gives; returns how many connections fit into them: each may
 * need a second one, to a sandbox. */
static unsigned raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 256;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > 1 << 20)
        limit.rlim_cur = 1 << 20;
    return limit.rlim_cur > 2 * FDS_SPARE ? (unsigned)(limit.rlim_cur - FDS_SPARE) / 2 : FDS_SPARE;
}

static void announce(struct server *server)
{
    char key[KEY_SIZE];
    _cleanup_free_ char *dir = server_state_dir(server->config);
    bool known = key_read_first(dir, key, NULL) == 0;
    if (server->edge && server->config->domain)
        server_print_domain(stdout, known ? key : NULL, server->config->domain);
    else
        server_print_exports(stdout, known ? key : NULL, server->url);
    explicit_bzero(key, sizeof key);
}

static void begin_stop(struct server *server);

static void open_http(struct server *server)
{
    struct http_server_options options = {
        .handler = on_request,
        .arg = server,
        .edge = server->edge,
        .idle_ns = IDLE_LIMIT,
        .head_ns = HEAD_LIMIT,
        .max_connections = raise_descriptors(),
    };
    int fd = server->listen_fd;
    server->listen_fd = -1;
    int rc = http_server_open(&server->loop, fd, &options, &server->http);
    if (rc < 0) {
        log_error("cannot serve", "error=\"%s\"", strerror(-rc));
        begin_stop(server);
        return;
    }
    log_info("serving", "url=%s sandboxes=%zu", server->url, sandbox_list_count(server->sandboxes));
    if (server->announce)
        announce(server);
    if (server->ready_fd >= 0) {
        if (write(server->ready_fd, "1", 1) < 0)
            log_debug("nobody waits for readiness", "error=\"%s\"", strerror(errno));
        close(server->ready_fd);
        server->ready_fd = -1;
    }
}

void server_adopted(struct server *server)
{
    if (server->ready || server->stopping)
        return;
    server->ready = true;
    server->sampler = sampler_new(server);
    open_http(server);
    pool_start(server->pool);
}

/* ---- launcher ---- */

static void on_connected(void *arg)
{
    struct server *server = arg;
    sandbox_list_reconcile(server->sandboxes);
}

static void on_gone(const char *id, const char *reason, void *arg)
{
    struct server *server = arg;
    struct sandbox *sandbox = sandbox_list_find(server->sandboxes, id);
    if (sandbox)
        sandbox_vanished(sandbox, *reason ? reason : "its init has ended");
}

static void on_stray(const char *id, void *arg)
{
    struct server *server = arg;
    sandbox_list_destroy_stray(server->sandboxes, id);
}

static const struct launcher_link_events link_events = {
    .connected = on_connected,
    .gone = on_gone,
    .stray = on_stray,
};

/* ---- stop ---- */

static bool quiet(const struct server *server)
{
    if (server->kills && sandbox_list_count(server->sandboxes) > 0)
        return false;
    for (const struct sandbox *sb = sandbox_list_first(server->sandboxes); sb;
         sb = sandbox_list_next(sb))
        if (sb->state == SANDBOX_KILLING)
            return false;
    return !server->http || http_server_connections(server->http) == 0;
}

static void kill_all(struct server *server)
{
    struct sandbox *sandbox;
    for (sandbox = sandbox_list_first(server->sandboxes); sandbox;
         sandbox = sandbox_list_next(sandbox))
        sandbox_kill(sandbox, "the server stops");
}

static void cut_all(struct server *server)
{
    struct sandbox *sandbox;
    for (sandbox = sandbox_list_first(server->sandboxes); sandbox;
         sandbox = sandbox_list_next(sandbox))
        proxy_cut_all(sandbox);
}

static void finish(struct server *server)
{
    observe_close(server);
    if (server->http)
        http_server_close(TAKE_PTR(server->http));
    uv_stop(&server->loop);
}

static void on_stop_step(uv_timer_t *timer)
{
    struct server *server = timer->data;
    uint64_t limit = server->config->stop_timeout * 1000;
    if (server->kills && limit < STOP_KILLING_MS)
        limit = STOP_KILLING_MS;
    if (server->hands_over && limit > STOP_HANDOVER_MS)
        limit = STOP_HANDOVER_MS;
    server->stop_waited += STOP_STEP_MS;
    if (server->hands_over && server->stop_waited == STOP_TRAFFIC_MS)
        cut_all(server);
    if (quiet(server)) {
        finish(server);
    } else if (server->stop_waited >= limit) {
        log_warning("stopping with work unfinished", "connections=%u sandboxes=%zu",
                    server->http ? http_server_connections(server->http) : 0,
                    sandbox_list_count(server->sandboxes));
        finish(server);
    }
}

static void begin_stop(struct server *server)
{
    if (server->stopping) {
        finish(server);
        return;
    }
    server->stopping = true;
    server->kills = server->config->ephemeral && !server->hands_over;
    log_info("stopping", "kills=%d", server->kills);
    if (server->http)
        http_server_stop(server->http);
    pool_stop(server->pool);
    if (server->kills)
        kill_all(server);
    uv_timer_start(&server->stop_timer, on_stop_step, 0, STOP_STEP_MS);
}

/* SIGUSR2: another server waits to go on. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    server->hands_over = number == SIGUSR2 && !server->stopping;
    begin_stop(server);
}

/* ---- main ---- */

static void on_sweep(uv_timer_t *timer)
{
    proxy_sweep(timer->data);
}

static void read_host(struct server *server)
{
    struct sysinfo info;
    struct statvfs disk;
    if (sysinfo(&info) == 0)
        server->memory_total = (uint64_t)info.totalram * info.mem_unit;
    if (statvfs(server->config->state, &disk) == 0)
        server->disk_total = (uint64_t)disk.f_blocks * disk.f_frsize;
    const char *bundle = server->config->ca_bundle;
    server->ca_in_force = bundle ? strcmp(bundle, "none") != 0
                                 : access("/etc/ssl/certs/ca-certificates.crt", R_OK) == 0;
    /* Without --domain, names under .localhost reach this machine from this machine, and the port
     * must be part of them. */
    if (server->config->domain)
        snprintf(server->domain, sizeof server->domain, "%s", server->config->domain);
    else
        snprintf(server->domain, sizeof server->domain, "sbx.localhost:%d",
                 server_port(server->listen_fd));
}

static int open_edge(struct server *server, struct err *err)
{
    struct tls_context *tls;
    const struct config *config = server->config;
    if (!config->tls_certificate)
        return 0;
    int rc = tls_context_open(config->tls_certificate, config->tls_key, &tls, err);
    if (rc == 0)
        server->edge = http_edge_open(tls, HEAD_LIMIT);
    return rc;
}

static void tell_store(struct server *server)
{
    struct err err;
    if (store_found(server->store) == STORE_RESTORED)
        log_error("the database was damaged: its copy has taken its place", "kept=carrel.db.damaged");
    else if (store_found(server->store) == STORE_LOST)
        log_error("the database and its copy were damaged: keys, and all but the files and processes "
                  "of sandboxes, are lost",
                  "kept=carrel.db.damaged");
    if (store_copy(server->store, &err) < 0)
        log_warning("database without a copy", "error=\"%s\"", err.message);
}

static int open_store(struct server *server, struct err *err)
{
    _cleanup_free_ char *dir = server_state_dir(server->config);
    int rc = store_open(dir, &server->store, err);
    if (rc == 0)
        tell_store(server);
    if (rc == 0)
        rc = key_first(server->store, dir, err);
    if (rc == 0)
        rc = sandbox_list_load(server->sandboxes, err);
    if (rc == 0)
        rc = snapshot_list_load(server->snapshots, err);
    if (rc == 0)
        server->keys = key_ring_new(server->store);
    return rc;
}

static void open_handles(struct server *server)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR2};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(&server->loop, &server->stop_timer);
    server->stop_timer.data = server;
    uv_timer_init(&server->loop, &server->sweep_timer);
    server->sweep_timer.data = server;
    uv_timer_start(&server->sweep_timer, on_sweep, SWEEP_MS, SWEEP_MS);
}

/* Takes the process down in order, so that leak checkers see nothing. */
static void close_all(struct server *server)
{
    for (size_t i = 0; i < ARRAY_SIZE(server->signals); i++)
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    uv_close((uv_handle_t *)&server->stop_timer, NULL);
    uv_close((uv_handle_t *)&server->sweep_timer, NULL);
    uv_run(&server->loop, UV_RUN_NOWAIT); /* connections end before what they point to */
    uv_run(&server->loop, UV_RUN_NOWAIT);
    sampler_close(server->sampler);
    pool_close(server->pool);
    sandbox_list_free(server->sandboxes);
    launcher_link_close(server->link);
    http_loop_done(&server->loop);
    for (int i = 0; i < 16 && uv_run(&server->loop, UV_RUN_NOWAIT) != 0; i++)
        ;
    if (uv_loop_close(&server->loop) != 0)
        log_debug("loop not empty at the end", "handles=1");
    http_edge_close(server->edge);
    turns_free(server->turns);
    limit_free(server->limit);
    snapshot_list_free(server->snapshots);
    key_ring_free(server->keys);
    store_close(server->store);
    free(server->launcher_path);
    if (server->listen_fd >= 0)
        close(server->listen_fd);
}

int server_main(const struct config *config, const struct server_start *start)
{
    struct server *server = xcalloc(1, sizeof *server);
    struct err err = {0};
    int status = 0;
    log_setup("server", config->log_level);
    server->config = config;
    server->listen_fd = start->listen_fd;
    server->ready_fd = start->ready_fd;
    server->announce = start->announce;
    if (uv_loop_init(&server->loop) < 0)
        abort();
    open_handles(server);
    server->sandboxes = sandbox_list_new(server);
    server->snapshots = snapshot_list_new(server);
    server->pool = pool_new(server);
    server->turns = turns_new();
    server->limit = config->rate ? limit_new(config->rate) : NULL;
    server->launcher_path = path_join(config->run, "launcher.sock");
    read_host(server);
    server_url(server->listen_fd, server->url, sizeof server->url);
    if (open_edge(server, &err) < 0 || open_store(server, &err) < 0 ||
        observe_open(server, &err) < 0) {
        log_error("cannot start", "error=\"%s\"", err.message);
        status = err_exit_status(err.code);
    }
    server->link = launcher_link_open(&server->loop, server->launcher_path, &link_events, server);
    if (status == 0)
        uv_run(&server->loop, UV_RUN_DEFAULT);
    close_all(server);
    free(server);
    return status;
}
