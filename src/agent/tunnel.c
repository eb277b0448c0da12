/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT 127.0.0.1:PORT: how the server reaches a port inside the sandbox. A connection is made to
 * the sandbox's loopback, IPv4 first, then IPv6, and from then on bytes are only moved.
 *
 * A port that nobody listens on is 502 with the header X-Carrel-Port: closed; other failures are 502
 * with another word in it. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/handlers.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "http/relay.h"

enum { CONNECT_LIMIT_MS = 10000 };

/* Upstream cuts a proxied connection that has been silent this long (protocol.md 1.5). */
static const int64_t idle_ns = 640 * CLOCK_S;

/* A tunnel until its relay has taken over. */
struct tunnel {
    struct http_exchange *exchange; /* NULL once closed */
    uv_loop_t *loop;
    uint16_t port;
    bool ipv6;
    int fd;            /* being connected, then connected; -1 */
    uv_poll_t poll[2]; /* one for each family: a closed handle is not free at once */
    bool polling;      /* poll[ipv6] is open */
    uv_timer_t timer;
    unsigned handles;
    bool accepted; /* the response's head is on its way */
};

static void handle_closed(uv_handle_t *handle)
{
    struct tunnel *t = handle->data;
    if (--t->handles == 0)
        free(t);
}

static void stop_polling(struct tunnel *t)
{
    if (!t->polling)
        return;
    t->polling = false;
    uv_close((uv_handle_t *)&t->poll[t->ipv6], handle_closed);
}

static void closed(struct http_exchange *x, void *arg)
{
    struct tunnel *t = arg;
    t->exchange = NULL;
    stop_polling(t);
    fd_closep(&t->fd);
    uv_close((uv_handle_t *)&t->timer, handle_closed);
}

static void refuse(struct tunnel *t, const char *word, const char *why)
{
    stop_polling(t);
    fd_closep(&t->fd);
    uv_timer_stop(&t->timer);
    http_respond_header(t->exchange, "X-Carrel-Port", word);
    http_respond_error(t->exchange, 502, "port %u: %s", t->port, why);
}

static void relay(struct tunnel *t)
{
    struct stream *client, *inside;
    struct buf left, none;
    buf_init(&none, 0);
    int rc = stream_open(t->loop, TAKE_FD(t->fd), NULL, NULL, &inside);
    if (rc < 0) {
        http_exchange_abort(t->exchange);
        return;
    }
    client = http_exchange_take_stream(t->exchange, &left);
    relay_start(client, &left, inside, &none, idle_ns, NULL, NULL);
}

static void drained(struct http_exchange *x, void *arg)
{
    struct tunnel *t = arg;
    if (t->accepted && t->fd >= 0)
        relay(t);
}

static void accept_tunnel(struct tunnel *t)
{
    int on = 1;
    stop_polling(t);
    uv_timer_stop(&t->timer);
    setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    t->accepted = true;
    http_respond_start(t->exchange, 200, HTTP_LENGTH_NONE);
    if (http_respond_queued(t->exchange) == 0)
        relay(t);
}

static void connect_ready(uv_poll_t *poll, int status, int events);

/* Begins to connect. 0: connected or under way, else -errno. */
static int begin(struct tunnel *t)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(t->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(t->port)};
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    t->fd = socket(t->ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->fd < 0)
        return -errno;
    const struct sockaddr *address = t->ipv6 ? (void *)&v6 : (void *)&v4;
    if (connect(t->fd, address, t->ipv6 ? sizeof v6 : sizeof v4) == 0) {
        accept_tunnel(t);
        return 0;
    }
    if (errno != EINPROGRESS)
        return -errno;
    uv_poll_t *poll = &t->poll[t->ipv6];
    int rc = uv_poll_init(t->loop, poll, t->fd);
    if (rc < 0)
        return rc;
    poll->data = t;
    t->handles++;
    t->polling = true;
    return uv_poll_start(poll, UV_WRITABLE, connect_ready);
}

/* The attempt has failed: the other family is next, or it is over. */
static void failed(struct tunnel *t, int status)
{
    stop_polling(t);
    fd_closep(&t->fd);
    if (!t->ipv6) {
        t->ipv6 = true;
        status = begin(t);
        if (status == 0)
            return;
    }
    if (status == -ECONNREFUSED || status == -EADDRNOTAVAIL || status == -EAFNOSUPPORT)
        refuse(t, "closed", "nobody listens inside the sandbox");
    else
        refuse(t, "error", "the connection inside the sandbox failed");
}

static void connect_ready(uv_poll_t *poll, int status, int events)
{
    struct tunnel *t = poll->data;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0)
        accept_tunnel(t);
    else
        failed(t, -error);
}

static void time_over(uv_timer_t *timer)
{
    struct tunnel *t = timer->data;
    if (t->exchange && !t->accepted)
        refuse(t, "busy", "whoever listens inside the sandbox accepts no connection");
}

/* "127.0.0.1:PORT" or "localhost:PORT"; nothing but the sandbox itself can be named. */
static bool parse_target(struct str target, uint16_t *ret_port)
{
    struct str host;
    uint64_t port;
    if (!str_split(&target, ':', &host) || !target.p ||
        !(str_eqz(host, "127.0.0.1") || str_eqz(host, "localhost")) ||
        str_to_u64(target, 65535, &port) < 0 || port == 0)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

void handle_tunnel_connect(struct agent *agent, struct http_exchange *x)
{
    static const struct http_exchange_events events = {.drained = drained, .closed = closed};
    uint16_t port;
    if (!parse_target(http_exchange_request(x)->target, &port)) {
        http_respond_error(x, 400, "CONNECT takes 127.0.0.1:PORT");
        return;
    }
    struct tunnel *t = xcalloc(1, sizeof *t);
    t->exchange = x;
    t->loop = agent->loop;
    t->port = port;
    t->fd = -1;
    uv_timer_init(t->loop, &t->timer);
    t->timer.data = t;
    t->handles = 1;
    http_exchange_on(x, &events, t);
    uv_timer_start(&t->timer, time_over, CONNECT_LIMIT_MS, 0);
    int rc = begin(t);
    if (rc < 0)
        failed(t, rc);
}
