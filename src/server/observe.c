/* SPDX-License-Identifier: Apache-2.0 */
/* The listener for metrics. */
#include "server/observe.h"

#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "http/server.h"
#include "server/launcher_link.h"
#include "server/server.h"

enum { BACKLOG = 16, CONNECTIONS_MAX = 32, TEXT_MAX = 1 << 20 };
#define PATIENCE (30 * CLOCK_S)

const char *observe_not_ready(const struct server *server)
{
    if (server->stopping)
        return "the server is stopping";
    if (!server->ready)
        return "the server is starting";
    return launcher_link_connected(server->link) ? NULL : "the launcher is being restarted";
}

static void reply_metrics(struct server *server, struct http_exchange *x)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    stats_print(server, &text);
    http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&text));
    buf_done(&text);
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct server *server = arg;
    const struct http_request *request = http_exchange_request(x);
    const char *why = observe_not_ready(server);
    if (!str_eqz(request->method, "GET") && !str_eqz(request->method, "HEAD"))
        http_respond_error(x, 405, "only GET");
    else if (str_eqz(request->path, "/metrics"))
        reply_metrics(server, x);
    else if (str_eqz(request->path, "/health") || (str_eqz(request->path, "/ready") && !why))
        http_respond(x, 204, NULL, STR(""));
    else if (str_eqz(request->path, "/ready"))
        http_respond_error(x, 503, "%s", why);
    else
        http_respond_error(x, 404, "there are /metrics, /health and /ready here");
}

static int listen_at(const char *where, struct err *err)
{
    char host[256], port[8];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    static const int on = 1;
    int rc = config_split_listen(where, host, port, err);
    if (rc < 0)
        return rc;
    int why = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (why)
        return err_set(err, ERR_INVALID, 0, "metrics: %s: %s", where, gai_strerror(why));
    _cleanup_close_ int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        rc = err_os(err, errno, "listen for metrics on %s", where);
    freeaddrinfo(found);
    return rc < 0 ? rc : TAKE_FD(fd);
}

int observe_open(struct server *server, struct err *err)
{
    const struct http_server_options options = {
        .handler = on_request,
        .arg = server,
        .idle_ns = PATIENCE,
        .head_ns = PATIENCE,
        .max_connections = CONNECTIONS_MAX,
    };
    if (!server->config->metrics)
        return 0;
    int fd = listen_at(server->config->metrics, err);
    if (fd < 0)
        return fd;
    int rc = http_server_open(&server->loop, fd, &options, &server->metrics);
    return rc < 0 ? err_os(err, -rc, "serve metrics") : 0;
}

void observe_close(struct server *server)
{
    if (server->metrics)
        http_server_close(TAKE_PTR(server->metrics));
}
