/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes of a connection, and the TLS handshake. */
#include "http/edge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "http/h2.h"
#include "http/server-internal.h"

enum { TLS_HANDSHAKE = 0x16 }; /* the first byte of a TLS connection (RFC 8446, 5.1) */

struct edge {
    struct http_edge base;
    struct tls_context *tls;
    uint64_t greeting_ms;
};

/* A connection that has not yet said what it speaks. */
struct greeting {
    struct http_guest guest;
    struct edge *edge;
    struct http_server *server;
    struct stream *stream; /* NULL once handed over or closed */
    uv_timer_t timer;
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct greeting *g = handle->data;
    struct http_server *server = g->server;
    struct http_guest *guest = &g->guest;
    server_guest_gone(server, guest);
    free(g);
}

static void end(struct greeting *g)
{
    if (g->stream)
        stream_close(TAKE_PTR(g->stream));
    if (!uv_is_closing((uv_handle_t *)&g->timer))
        uv_close((uv_handle_t *)&g->timer, on_timer_closed);
}

static void end_guest(struct http_guest *guest)
{
    end(CONTAINER_OF(guest, struct greeting, guest));
}

static void on_timeout(uv_timer_t *timer)
{
    end(timer->data);
}

static void hand_over(struct greeting *g, bool http2)
{
    struct stream *stream = TAKE_PTR(g->stream);
    stream_watch(stream, false, false);
    if (http2)
        h2_open(g->server, stream);
    else
        conn_open(g->server, stream);
    end(g);
}

static void shake_hands(struct greeting *g)
{
    int r = tls_handshake(g->stream);
    if (r == 0)
        hand_over(g, tls_is_http2(g->stream));
    else if (r != -EAGAIN)
        end(g);
}

static void on_handshake(struct stream *s, bool readable, bool writable, void *arg)
{
    shake_hands(arg);
}

static void begin_tls(struct greeting *g)
{
    struct stream *below = TAKE_PTR(g->stream);
    stream_watch(below, false, false);
    tls_context_refresh(g->edge->tls);
    if (tls_stream_open(g->edge->tls, below, &g->stream) < 0) {
        g->stream = NULL;
        end(g);
        return;
    }
    stream_set_owner(g->stream, on_handshake, g);
    shake_hands(g);
}

/* Whether the other end is this host itself. */
static bool is_local(const struct stream *s)
{
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;
    if (getpeername(stream_fd(s), (struct sockaddr *)&peer, &size) < 0)
        return false;
    if (peer.ss_family == AF_INET)
        return ntohl(((struct sockaddr_in *)&peer)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (peer.ss_family != AF_INET6)
        return peer.ss_family == AF_UNIX;
    const struct in6_addr *ip = &((struct sockaddr_in6 *)&peer)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(ip) ||
           (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == IN_LOOPBACKNET);
}

/* Where there is TLS, keys do not go over the network without it: who tries is told at once. */
static void refuse_plain(struct greeting *g)
{
    static const char answer[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
        "Content-Length: 80\r\n\r\n"
        "{\"code\":400,\"message\":\"this server speaks TLS: use https:// instead of http://\"}";
    struct iovec part = {(void *)(uintptr_t)answer, sizeof answer - 1};
    size_t size;
    char *scratch = http_loop_scratch(g->server->loop, &size);
    stream_read(g->stream, scratch, size); /* unread, it would make the end a reset */
    if (stream_write(g->stream, &part, 1) > 0)
        stream_shutdown_write(g->stream);
    end(g);
}

/* "PRI" is no method that starts a request of HTTP/1.1; three bytes tell. */
static void on_first_bytes(struct stream *s, bool readable, bool writable, void *arg)
{
    struct greeting *g = arg;
    char first[3];
    ssize_t got = recv(stream_fd(s), first, sizeof first, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        end(g);
    else if (first[0] == TLS_HANDSHAKE && g->edge->tls)
        begin_tls(g);
    else if (g->edge->tls && !is_local(s))
        refuse_plain(g);
    else
        hand_over(g, got == 3 && memcmp(first, "PRI", 3) == 0);
}

static void edge_accept(struct http_edge *base, struct http_server *server, struct stream *stream)
{
    struct edge *edge = (struct edge *)base;
    struct greeting *g = xcalloc(1, sizeof *g);
    g->guest.stop = g->guest.close = end_guest;
    g->edge = edge;
    g->server = server;
    g->stream = stream;
    uv_timer_init(server->loop, &g->timer);
    g->timer.data = g;
    if (edge->greeting_ms)
        uv_timer_start(&g->timer, on_timeout, edge->greeting_ms, 0);
    server_guest_new(server, &g->guest);
    stream_set_owner(stream, on_first_bytes, g);
    stream_watch(stream, true, false);
}

struct http_edge *http_edge_open(struct tls_context *tls, int64_t greeting_ns)
{
    struct edge *edge = xcalloc(1, sizeof *edge);
    edge->base.accept = edge_accept;
    edge->tls = tls;
    edge->greeting_ms = (uint64_t)greeting_ns / 1000000;
    return &edge->base;
}

void http_edge_close(struct http_edge *base)
{
    struct edge *edge = (struct edge *)base;
    if (!edge)
        return;
    tls_context_close(edge->tls);
    free(edge);
}
