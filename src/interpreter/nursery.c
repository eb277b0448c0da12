/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to the nursery: one packet a request, one packet a kernel that is born. */
#include "interpreter/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "interpreter/child.h"
#include "interpreter/paths.h"

enum { ANSWER_MAX = 4096, AGAIN_MS = 200, REQUEST_ROOM = 4 << 20 };

struct nursery_birth {
    TAILQ_ENTRY(nursery_birth) link;
    json_int_t id;
    nursery_born_fn *born; /* NULL: forgotten */
    void *arg;
};

struct nursery {
    uv_loop_t *loop;
    char **envp;
    nursery_warm_fn *warm;
    void *arg;
    pid_t pid; /* 0 while it is down */
    int fd;
    uv_poll_t *poll; /* closed with each life */
    uv_timer_t again;
    json_int_t next_id;
    TAILQ_HEAD(, nursery_birth) births;
};

static void start(struct nursery *n);

static void finish(struct nursery *n, struct nursery_birth *b, pid_t pid)
{
    TAILQ_REMOVE(&n->births, b, link);
    if (b->born)
        b->born(pid, b->arg);
    free(b);
}

static void on_answer(struct nursery *n, struct str text)
{
    json_int_t id = 0;
    int pid = 0;
    struct nursery_birth *b;
    json_t *answer = json_loadb(text.p, text.len, 0, NULL);
    if (json_is_true(json_object_get(answer, "warm"))) {
        n->warm(n->arg);
    } else if (json_unpack(answer, "{s:I,s:i}", "id", &id, "pid", &pid) == 0) {
        TAILQ_FOREACH(b, &n->births, link)
        if (b->id == id)
            break;
        if (b && pid <= 0)
            finish(n, b, pid < 0 ? -EAGAIN : 0);
        else if (b && b->born)
            b->born(pid, b->arg);
        else if (b && pid > 0)
            kill(pid, SIGKILL);
    }
    json_decref(answer);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct nursery *n = poll->data;
    char text[ANSWER_MAX];
    ssize_t len = recv(n->fd, text, sizeof text, MSG_DONTWAIT);
    if (len > 0)
        on_answer(n, (struct str){text, (size_t)len});
    else if (len == 0 || errno != EAGAIN)
        uv_poll_stop(poll); /* its end follows */
}

static void on_again(uv_timer_t *timer)
{
    start(timer->data);
}

static void poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_ended(pid_t pid, int status, void *arg)
{
    struct nursery *n = arg;
    struct nursery_birth *b, *next;
    n->pid = 0;
    uv_poll_stop(n->poll);
    uv_close((uv_handle_t *)n->poll, poll_closed);
    fd_closep(&n->fd);
    for (b = TAILQ_FIRST(&n->births); b; b = next) {
        next = TAILQ_NEXT(b, link);
        finish(n, b, -ECHILD);
    }
    log_warning("nursery ended", "status=%#x", (unsigned)status);
    uv_timer_start(&n->again, on_again, AGAIN_MS, 0);
}

static void start(struct nursery *n)
{
    int ends[2];
    char *argv[] = {(char *)PATH_PYTHON, (char *)"-B", (char *)PATH_NURSERY,
                    /* Tools that look for that process by its name find what does its work. */
                    (char *)"in the place of: jupyter server", NULL};
    struct child_spec spec = {.argv = argv, .envp = n->envp, .cwd = "/", .fds = {-1, 1, 2, -1}};
    int room = REQUEST_ROOM;
    if (n->pid)
        return;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        uv_timer_start(&n->again, on_again, AGAIN_MS, 0);
        return;
    }
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    spec.fds[3] = ends[1];
    pid_t pid = child_spawn(&spec);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        uv_timer_start(&n->again, on_again, AGAIN_MS, 0);
        return;
    }
    n->pid = pid;
    n->fd = ends[0];
    n->poll = xmalloc(sizeof *n->poll);
    n->poll->data = n;
    uv_poll_init(n->loop, n->poll, n->fd);
    uv_poll_start(n->poll, UV_READABLE, on_readable);
    child_watch(pid, on_ended, n);
}

struct nursery *nursery_open(uv_loop_t *loop, char **envp, nursery_warm_fn *warm, void *arg)
{
    struct nursery *n = xcalloc(1, sizeof *n);
    *n = (struct nursery){.loop = loop, .envp = envp, .warm = warm, .arg = arg, .fd = -1};
    TAILQ_INIT(&n->births);
    uv_timer_init(loop, &n->again);
    n->again.data = n;
    start(n);
    return n;
}

static json_t *env_object(char **envp)
{
    json_t *all = json_object();
    for (char **e = envp; *e; e++) {
        const char *eq = strchr(*e, '=');
        _cleanup_free_ char *name = xstrndup(*e, eq ? (size_t)(eq - *e) : 0);
        if (eq)
            json_object_set_new(all, name, json_string(eq + 1));
    }
    return all;
}

struct nursery_birth *nursery_fork(struct nursery *n, const struct nursery_request *r,
                                   nursery_born_fn *born, void *arg)
{
    struct nursery_birth *b = xmalloc(sizeof *b);
    *b = (struct nursery_birth){.id = ++n->next_id, .born = born, .arg = arg};
    TAILQ_INSERT_TAIL(&n->births, b, link);
    start(n);
    json_t *request = json_pack("{s:I,s:s,s:s,s:o}", "id", b->id, "connection_file",
                                r->connection_file, "cwd", r->cwd, "env", env_object(r->envp));
    _cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    int fds[2] = {r->out, r->err};
    /* If this fails, so does the nursery, whose end ends the birth. */
    if (n->pid && (!text || fd_send(n->fd, text, strlen(text), fds, 2) < 0))
        kill(n->pid, SIGKILL);
    return b;
}

void nursery_forget(struct nursery_birth *birth)
{
    if (birth)
        birth->born = NULL;
}
