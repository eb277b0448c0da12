/* SPDX-License-Identifier: Apache-2.0 */
/* Listening and accepting. */
#include "http/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/server-internal.h"

/* Accepted in one turn at the most, so that a flood of connections does not starve the others. */
enum { ACCEPT_BATCH = 64 };

static void listen_pause(struct http_server *server)
{
    server->listening = false;
    uv_poll_stop(&server->listener);
}

static void accepted(struct http_server *server, int fd)
{
    int on = 1;
    struct stream *stream;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on AF_UNIX: fine */
    if (stream_open(server->loop, fd, NULL, NULL, &stream) < 0)
        return;
    if (server->options.edge)
        server->options.edge->accept(server->options.edge, server, stream);
    else
        conn_open(server, stream);
}

static void on_acceptable(uv_poll_t *handle, int status, int events)
{
    struct http_server *server = handle->data;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        unsigned max = server->options.max_connections;
        if (max && server->conn_count >= max) {
            listen_pause(server);
            return;
        }
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            /* Out of descriptors: the backlog holds the rest until a connection ends. */
            if ((errno == EMFILE || errno == ENFILE) && server->conn_count)
                listen_pause(server);
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            return;
        }
        accepted(server, fd);
    }
}

static void listen_resume(struct http_server *server)
{
    if (server->listening || server->stopping || server->closing)
        return;
    server->listening = uv_poll_start(&server->listener, UV_READABLE, on_acceptable) == 0;
}

int http_server_open(uv_loop_t *loop, int listen_fd, const struct http_server_options *options,
                     struct http_server **ret)
{
    struct http_server *server = xcalloc(1, sizeof *server);
    int rc = uv_poll_init(loop, &server->listener, listen_fd);
    if (rc < 0) {
        close(listen_fd);
        free(server);
        return rc;
    }
    signal(SIGPIPE, SIG_IGN); /* sendfile has no flag against it; a gone peer is an error code */
    server->loop = loop;
    server->listener.data = server;
    server->listen_fd = listen_fd;
    server->options = *options;
    TAILQ_INIT(&server->conns);
    TAILQ_INIT(&server->guests);
    listen_resume(server);
    *ret = server;
    return 0;
}

static void free_if_over(struct http_server *server)
{
    if (server->closing && server->listener_closed && server->conn_count == 0)
        free(server);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;
    server->listener_closed = true;
    free_if_over(server);
}

static void close_listener(struct http_server *server)
{
    if (server->listen_fd < 0)
        return;
    uv_close((uv_handle_t *)&server->listener, on_listener_closed);
    close(server->listen_fd);
    server->listen_fd = -1;
    server->listening = false;
}

void http_server_stop(struct http_server *server)
{
    server->stopping = true;
    close_listener(server);
    struct http_conn *conn, *next;
    for (conn = TAILQ_FIRST(&server->conns); conn; conn = next) {
        next = TAILQ_NEXT(conn, link);
        conn_stop(conn);
    }
    struct http_guest *guest, *after;
    for (guest = TAILQ_FIRST(&server->guests); guest; guest = after) {
        after = TAILQ_NEXT(guest, link);
        guest->stop(guest);
    }
}

void http_server_close(struct http_server *server)
{
    server->closing = true;
    close_listener(server);
    struct http_conn *conn;
    TAILQ_FOREACH(conn, &server->conns, link)
    {
        conn->close_after = true;
        if (conn->exchange)
            http_exchange_abort(conn->exchange);
        conn_wake(conn);
    }
    struct http_guest *guest, *after;
    for (guest = TAILQ_FIRST(&server->guests); guest; guest = after) {
        after = TAILQ_NEXT(guest, link);
        guest->close(guest);
    }
    free_if_over(server);
}

void server_guest_new(struct http_server *server, struct http_guest *guest)
{
    TAILQ_INSERT_TAIL(&server->guests, guest, link);
    server->conn_count++;
}

void server_guest_gone(struct http_server *server, struct http_guest *guest)
{
    TAILQ_REMOVE(&server->guests, guest, link);
    server_conn_gone(server);
}

void server_conn_gone(struct http_server *server)
{
    server->conn_count--;
    listen_resume(server);
    free_if_over(server);
}

size_t http_server_queued(const struct http_server *server)
{
    size_t queued = 0;
    const struct http_conn *conn;
    TAILQ_FOREACH(conn, &server->conns, link)
        queued += buf_len(&conn->out);
    return queued;
}

unsigned http_server_connections(const struct http_server *server)
{
    return server->conn_count;
}
