/* SPDX-License-Identifier: Apache-2.0 */
/* What all sessions have in common: names, addresses, connections, ends. */
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "egress/session-internal.h"
#include "http/loop.h"

enum {
    ASK_MS = 10 * 1000,    /* for the client to say what it wants */
    FIND_MS = 10 * 1000,   /* to look it up */
    CONNECT_MS = 5 * 1000, /* to one address */
    CONNECTS_MAX = 4,      /* addresses tried */
    LINGER_MS = 2 * 1000,
    KEEPALIVE_S = 60,
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct session *s = handle->data;
    http_session_free(s->http);
    buf_done(&s->held);
    free(s);
}

static void drop_upstream(struct session *s)
{
    if (s->upstream)
        stream_close(TAKE_PTR(s->upstream));
}

void session_cut(struct session *s)
{
    struct egress *egress = s->egress;
    if (s->state == SESSION_CLOSED)
        return;
    s->state = SESSION_CLOSED;
    resolver_cancel(&s->wait);
    if (s->relay)
        relay_close(TAKE_PTR(s->relay));
    if (s->client)
        stream_close(TAKE_PTR(s->client));
    drop_upstream(s);
    LIST_REMOVE(s, link);
    s->guest->session_count--;
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
    egress_session_left(egress);
}

struct session *session_next(const struct session *s)
{
    return LIST_NEXT(s, link);
}

bool session_allowed(const struct session *s)
{
    return !*s->name || guest_may_reach(s->guest, s->name);
}

/* ---- time ---- */

static void connect_next(struct session *s);

static void on_deadline(uv_timer_t *timer)
{
    struct session *s = timer->data;
    if (s->state == SESSION_RESOLVING) {
        session_refuse(s, str_from(s->name), "its address is not known in time");
    } else if (s->state == SESSION_CONNECTING) {
        drop_upstream(s);
        connect_next(s);
    } else {
        session_cut(s);
    }
}

void session_deadline(struct session *s, uint64_t ms)
{
    uv_update_time(&s->egress->loop);
    if (ms)
        uv_timer_start(&s->timer, on_deadline, ms, 0);
    else
        uv_timer_stop(&s->timer);
}

/* ---- the end ---- */

static void on_last_words_read(struct stream *stream, bool readable, bool writable, void *arg)
{
    struct session *s = arg;
    size_t size;
    char *scratch = http_loop_scratch(&s->egress->loop, &size);
    ssize_t n = stream_read(stream, scratch, size);
    if (n != -EAGAIN && n <= 0)
        session_cut(s);
}

void session_linger(struct session *s)
{
    /* What is not read when a socket is closed makes the kernel reset the connection, and the client
     * may lose what it was told. */
    s->state = SESSION_LINGERING;
    resolver_cancel(&s->wait);
    drop_upstream(s);
    stream_shutdown_write(s->client);
    stream_set_owner(s->client, on_last_words_read, s);
    stream_watch(s->client, true, false);
    session_deadline(s, LINGER_MS);
}

void session_refuse(struct session *s, struct str wanted, const char *why)
{
    guest_refused(s->guest, s->kind == SESSION_TLS ? "tls" : "http", wanted, why);
    if (s->kind == SESSION_TLS)
        tls_session_refuse(s, why);
    else
        http_session_refuse(s, why);
    session_linger(s);
}

/* ---- to the name ---- */

static void on_connected(struct stream *stream, bool readable, bool writable, void *arg)
{
    struct session *s = arg;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(stream_fd(stream), SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error) {
        drop_upstream(s);
        connect_next(s);
        return;
    }
    stream_watch(stream, false, false);
    s->state = SESSION_PASSING;
    session_deadline(s, 0);
    if (s->kind == SESSION_TLS)
        tls_session_connected(s);
    else
        http_session_connected(s);
}

/* Never where the client has gone to, always where the name is. */
static int connect_address(struct session *s, struct in_addr address)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(s->kind == SESSION_TLS ? 443 : 80),
                             .sin_addr = address};
    int one = 1, interval = KEEPALIVE_S;
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof interval);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        return -errno;
    int rc = stream_open(&s->egress->loop, TAKE_FD(fd), on_connected, s, &s->upstream);
    if (rc == 0)
        stream_watch(s->upstream, false, true);
    return rc;
}

static void connect_next(struct session *s)
{
    session_deadline(s, CONNECT_MS);
    while (s->next_address < s->answer.count && s->next_address < CONNECTS_MAX)
        if (connect_address(s, s->answer.addresses[s->next_address++]) == 0)
            return;
    session_refuse(s, str_from(s->name), "cannot be connected to");
}

static void on_resolved(struct resolve_wait *wait, const struct dns_answer *answer, bool closed)
{
    struct session *s = CONTAINER_OF(wait, struct session, wait);
    if (answer->count == 0) {
        session_refuse(s, str_from(s->name),
                       closed ? "its addresses are closed to sandboxes" : "has no address");
        return;
    }
    s->answer = *answer;
    s->state = SESSION_CONNECTING;
    connect_next(s);
}

void session_want(struct session *s, const char *name)
{
    link_read(s->egress); /* a policy that was answered to be in force is */
    if (s->state == SESSION_CLOSED)
        return;
    if (!guest_may_reach(s->guest, name)) {
        session_refuse(s, str_from(name), "not allowed");
        return;
    }
    memcpy(s->name, name, strlen(name) + 1);
    s->state = SESSION_RESOLVING;
    session_deadline(s, FIND_MS);
    resolver_ask(s->egress->resolver, s->name, &s->wait, on_resolved);
}

/* ---- raw bytes ---- */

static void on_relay_done(void *arg)
{
    struct session *s = arg;
    s->relay = NULL;
    session_cut(s);
}

void session_relay(struct session *s, struct buf *left_upstream)
{
    s->relay = relay_start(TAKE_PTR(s->client), &s->held, TAKE_PTR(s->upstream), left_upstream, 0,
                           on_relay_done, s);
    session_deadline(s, 0);
}

/* ---- the beginning ---- */

void session_open(struct egress *egress, struct guest *guest, enum session_kind kind, int fd)
{
    struct session *s = xcalloc(1, sizeof *s);
    int one = 1, interval = KEEPALIVE_S;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof interval);
    s->egress = egress;
    s->guest = guest;
    s->kind = kind;
    if (stream_open(&egress->loop, fd, NULL, s, &s->client) < 0) {
        free(s);
        return;
    }
    LIST_INSERT_HEAD(&guest->sessions, s, link);
    guest->session_count++;
    egress->sessions++;
    uv_timer_init(&egress->loop, &s->timer);
    s->timer.data = s;
    session_deadline(s, ASK_MS);
    if (kind == SESSION_TLS)
        tls_session_begin(s);
    else
        http_session_begin(s);
}
