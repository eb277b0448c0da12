/* SPDX-License-Identifier: Apache-2.0 */
/* SEQPACKET client of the launcher. */
#include "server/launcher_link.h"

#include <errno.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    TICK_MS = 250, /* how exactly time-outs are kept */
    RETRY_MS = 50, /* between attempts to connect */
    SEND_BUFFER = 1 << 20,
};

struct call {
    TAILQ_ENTRY(call) link;
    struct launcher_request request;
    char *body; /* until sent */
    size_t body_len;
    int64_t deadline;
    launcher_done_fn *done; /* NULL: forgotten */
    void *arg;
};
TAILQ_HEAD(call_list, call);

struct launcher_link {
    uv_loop_t *loop;
    const char *path;
    const struct launcher_link_events *events;
    void *arg;
    int fd;          /* -1: not connected */
    uv_poll_t *poll; /* own allocation: outlives a connection until its close callback */
    uv_timer_t tick; /* time-outs while calls are under way, attempts while not connected */
    bool tick_runs;
    bool closed;
    bool warned;
    uint64_t serial;
    struct call_list queued; /* not sent yet, in order */
    struct call_list sent;
};

static void on_ready(uv_poll_t *poll, int status, int events);
static void on_tick(uv_timer_t *timer);

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void free_link(uv_handle_t *handle)
{
    free(handle->data);
}

static void call_free(struct call *call)
{
    free(call->body);
    free(call);
}

static void arm(struct launcher_link *link)
{
    bool needed = link->fd < 0 || !TAILQ_EMPTY(&link->queued) || !TAILQ_EMPTY(&link->sent);
    if (link->closed || needed == link->tick_runs)
        return;
    link->tick_runs = needed;
    if (!needed)
        uv_timer_stop(&link->tick);
    else if (link->fd < 0)
        uv_timer_start(&link->tick, on_tick, RETRY_MS, RETRY_MS);
    else
        uv_timer_start(&link->tick, on_tick, TICK_MS, TICK_MS);
}

static void rearm(struct launcher_link *link)
{
    if (link->tick_runs)
        uv_timer_stop(&link->tick);
    link->tick_runs = false;
    arm(link);
}

/* Ends a call that the launcher did not answer. */
static void fail(struct call *call, enum err_code code, const char *message)
{
    struct launcher_reply reply = {
        .version = LAUNCHER_VERSION,
        .op = call->request.op,
        .serial = call->request.serial,
        .code = code,
    };
    memcpy(reply.id, call->request.id, sizeof reply.id);
    snprintf(reply.message, sizeof reply.message, "%s", message);
    launcher_done_fn *done = call->done;
    void *arg = call->arg;
    call_free(call);
    if (done)
        done(&reply, arg);
}

static void disconnect(struct launcher_link *link, const char *why)
{
    if (link->fd < 0)
        return;
    log_warning("launcher lost", "why=\"%s\"", why);
    uv_poll_stop(link->poll);
    uv_close((uv_handle_t *)link->poll, free_handle);
    link->poll = NULL;
    close(link->fd);
    link->fd = -1;
    rearm(link);
    struct call_list lost = TAILQ_HEAD_INITIALIZER(lost);
    TAILQ_CONCAT(&lost, &link->sent, link);
    struct call *call;
    while (!link->closed && (call = TAILQ_FIRST(&lost))) {
        TAILQ_REMOVE(&lost, call, link);
        fail(call, ERR_UNAVAILABLE, "the launcher restarted during the request");
    }
    while ((call = TAILQ_FIRST(&lost))) { /* closed from a callback */
        TAILQ_REMOVE(&lost, call, link);
        call_free(call);
    }
}

/* 0 when the launcher has it, or -errno. */
static int send_call(struct launcher_link *link, struct call *call)
{
    struct iovec parts[] = {
        {&call->request, sizeof call->request},
        {call->body, call->body_len},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = call->body ? 2 : 1};
    if (sendmsg(link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return -errno;
    TAILQ_REMOVE(&link->queued, call, link);
    TAILQ_INSERT_TAIL(&link->sent, call, link);
    free(call->body);
    call->body = NULL;
    return 0;
}

/* Sends what is queued, as far as the socket takes it. */
static void flush(struct launcher_link *link)
{
    struct call *call;
    int rc = 0;
    while ((call = TAILQ_FIRST(&link->queued)) && (rc = send_call(link, call)) == 0)
        ;
    if (rc < 0 && rc != -EAGAIN && rc != -EINTR)
        disconnect(link, strerror(-rc));
    else
        uv_poll_start(link->poll, UV_READABLE | (call ? UV_WRITABLE : 0), on_ready);
}

static struct call *find_sent(struct launcher_link *link, uint64_t serial)
{
    struct call *call;
    TAILQ_FOREACH(call, &link->sent, link)
    if (call->request.serial == serial)
        return call;
    return NULL;
}

static void take_reply(struct launcher_link *link, const struct launcher_reply *reply)
{
    if (reply->serial == 0) {
        if (reply->op == LAUNCHER_GONE)
            link->events->gone(reply->id, reply->message, link->arg);
        return;
    }
    struct call *call = find_sent(link, reply->serial);
    if (!call || !call->done) {
        if (reply->op == LAUNCHER_CREATE && reply->code == ERR_OK)
            link->events->stray(reply->id, link->arg);
    }
    if (!call)
        return;
    launcher_done_fn *done = call->done;
    void *arg = call->arg;
    if (!(reply->op == LAUNCHER_LIST && reply->more)) {
        TAILQ_REMOVE(&link->sent, call, link);
        call_free(call);
        arm(link);
    }
    if (done)
        done(reply, arg);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct launcher_link *link = poll->data;
    if (status < 0) {
        disconnect(link, uv_strerror(status));
        return;
    }
    /* Bounded per turn, so that a flood of replies cannot keep requests waiting. */
    for (int i = 0; i < 64 && link->poll == poll; i++) {
        struct launcher_reply reply;
        ssize_t n = recv(link->fd, &reply, sizeof reply, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0) {
            disconnect(link, n < 0 ? strerror(errno) : "connection closed");
            return;
        }
        if (n != (ssize_t)sizeof reply || reply.version != LAUNCHER_VERSION) {
            disconnect(link, "it speaks another version");
            return;
        }
        reply.id[sizeof reply.id - 1] = '\0';
        reply.message[sizeof reply.message - 1] = '\0';
        take_reply(link, &reply);
    }
    if (link->poll == poll && (events & UV_WRITABLE))
        flush(link);
}

static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = SEND_BUFFER;
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

static void try_connect(struct launcher_link *link)
{
    int fd = open_socket(link->path);
    if (fd < 0) {
        if (!link->warned)
            log_warning("launcher not reachable yet", "socket=%s error=\"%s\"", link->path,
                        strerror(-fd));
        link->warned = true;
        return;
    }
    link->warned = false;
    link->fd = fd;
    link->poll = xcalloc(1, sizeof *link->poll);
    link->poll->data = link;
    if (uv_poll_init(link->loop, link->poll, fd) < 0)
        abort(); /* a socket can always be polled */
    uv_poll_start(link->poll, UV_READABLE, on_ready);
    rearm(link);
    link->events->connected(link->arg);
    if (link->fd >= 0)
        flush(link);
}

static struct call *overdue(struct call_list *list, int64_t now)
{
    struct call *call;
    TAILQ_FOREACH(call, list, link)
    if (call->deadline <= now)
        return call;
    return NULL;
}

static void on_tick(uv_timer_t *timer)
{
    struct launcher_link *link = timer->data;
    int64_t now = clock_mono_ns();
    struct call *call;
    while (!link->closed && (call = overdue(&link->queued, now))) {
        TAILQ_REMOVE(&link->queued, call, link);
        fail(call, ERR_UNAVAILABLE, "the launcher cannot be reached");
    }
    while (!link->closed && (call = overdue(&link->sent, now))) {
        TAILQ_REMOVE(&link->sent, call, link);
        fail(call, ERR_TIMEOUT, "the launcher did not answer in time");
    }
    if (!link->closed && link->fd < 0)
        try_connect(link);
    arm(link);
}

struct launcher_link *launcher_link_open(uv_loop_t *loop, const char *path,
                                         const struct launcher_link_events *events, void *arg)
{
    struct launcher_link *link = xcalloc(1, sizeof *link);
    link->loop = loop;
    link->path = path;
    link->events = events;
    link->arg = arg;
    link->fd = -1;
    TAILQ_INIT(&link->queued);
    TAILQ_INIT(&link->sent);
    uv_timer_init(loop, &link->tick);
    link->tick.data = link;
    link->tick_runs = true;
    uv_timer_start(&link->tick, on_tick, 0, RETRY_MS);
    return link;
}

static void drop_calls(struct call_list *list)
{
    struct call *call;
    while ((call = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, call, link);
        call_free(call);
    }
}

void launcher_link_close(struct launcher_link *link)
{
    if (!link || link->closed)
        return;
    link->closed = true;
    drop_calls(&link->queued);
    drop_calls(&link->sent);
    if (link->fd >= 0) {
        uv_close((uv_handle_t *)link->poll, free_handle);
        link->poll = NULL;
        close(link->fd);
        link->fd = -1;
    }
    uv_close((uv_handle_t *)&link->tick, free_link);
}

bool launcher_link_connected(const struct launcher_link *link)
{
    return link->fd >= 0;
}

/* What cannot be sent at once is left to the loop, failures included, so that `done` is never called
 * from in here. */
void launcher_link_call(struct launcher_link *link, const struct launcher_request *request,
                        struct str body, int64_t timeout_ns, launcher_done_fn *done, void *arg)
{
    struct call *call = xcalloc(1, sizeof *call);
    call->request = *request;
    call->request.version = LAUNCHER_VERSION;
    call->request.serial = ++link->serial;
    call->request.config_len = (uint32_t)body.len - request->network_len;
    call->body_len = body.len;
    if (body.len > 0) {
        call->body = xmalloc(body.len);
        memcpy(call->body, body.p, body.len);
    }
    call->deadline = clock_mono_ns() + timeout_ns;
    call->done = done;
    call->arg = arg;
    TAILQ_INSERT_TAIL(&link->queued, call, link);
    arm(link);
    bool first = TAILQ_FIRST(&link->queued) == call;
    if (link->fd >= 0 && (!first || send_call(link, call) < 0))
        uv_poll_start(link->poll, UV_READABLE | UV_WRITABLE, on_ready);
}

static void forget(struct call_list *list, const void *arg)
{
    struct call *call;
    TAILQ_FOREACH(call, list, link)
    if (call->arg == arg)
        call->done = NULL;
}

void launcher_link_forget(struct launcher_link *link, const void *arg)
{
    forget(&link->queued, arg);
    forget(&link->sent, arg);
}
