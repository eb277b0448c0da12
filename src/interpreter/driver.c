/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels made of a driver process. */
#include "interpreter/driver.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "http/loop.h"
#include "interpreter/child.h"
#include "interpreter/death.h"
#include "interpreter/outlet.h"

enum { LINE_MAX_BYTES = 512 << 20, CHUNK = 64 << 10 };

struct driver {
    struct kernel base;
    uv_loop_t *loop;
    int fd;
    uv_poll_t *poll;
    struct buf in, out; /* of the socket */
    size_t scanned;     /* bytes of in that hold no newline */
    struct outlet *text_out, *text_err;
    pid_t pid;
    json_int_t count;
    bool is_bash, running, paused, dying;
    struct http_task more; /* lines that came before a pause */
};

static void arm(struct driver *d);

/* ---- events ---- */

static void on_output(struct driver *d, bool is_stderr, struct str text)
{
    if (d->running)
        d->base.events->output(is_stderr, text, d->base.arg);
}

static void on_out(struct str text, void *arg)
{
    on_output(arg, false, text);
}

static void on_err(struct str text, void *arg)
{
    on_output(arg, true, text);
}

static struct str text_member(const json_t *o, const char *name)
{
    const json_t *value = json_object_get(o, name);
    return (struct str){json_string_value(value), json_string_length(value)};
}

/* What a shell has instead of exceptions. */
static void tell_status(struct driver *d, json_int_t status)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)status);
    if (status)
        d->base.events->failed(STR("ExitStatus"), (struct str){text, (size_t)len}, STR(""),
                               d->base.arg);
}

static void on_event(struct driver *d, const json_t *line)
{
    const struct kernel_events *events = d->base.events;
    const char *event = json_string_value(json_object_get(line, "event"));
    outlet_drain(d->text_out);
    outlet_drain(d->text_err);
    if (!event || d->dying)
        return;
    if (strcmp(event, "ready") == 0)
        events->ready(d->base.arg);
    if (!d->running)
        return;
    if (strcmp(event, "stdout") == 0 || strcmp(event, "stderr") == 0) {
        on_output(d, event[3] == 'e', text_member(line, "text"));
    } else if (strcmp(event, "result") == 0) {
        events->result(json_object_get(line, "bundle"), json_is_true(json_object_get(line, "main")),
                       d->base.arg);
    } else if (strcmp(event, "error") == 0) {
        events->failed(text_member(line, "name"), text_member(line, "value"),
                       text_member(line, "traceback"), d->base.arg);
    } else if (strcmp(event, "status") == 0) {
        tell_status(d, json_integer_value(json_object_get(line, "status")));
    } else if (strcmp(event, "done") == 0) {
        d->running = false;
        events->done(d->base.arg);
    }
}

static void take_lines(struct driver *d)
{
    while (!d->paused && !d->dying) {
        struct str all = buf_str(&d->in);
        struct str fresh = {all.p + d->scanned, all.len - d->scanned};
        size_t end = d->scanned + str_find(fresh, '\n');
        if (end >= all.len) {
            d->scanned = all.len;
            return;
        }
        json_t *line = json_loadb(all.p, end, JSON_ALLOW_NUL, NULL);
        buf_consume(&d->in, end + 1);
        d->scanned = 0;
        if (line)
            on_event(d, line);
        json_decref(line);
    }
}

static void take_more(struct http_task *task)
{
    take_lines(CONTAINER_OF(task, struct driver, more));
}

/* ---- the socket ---- */

static void send_some(struct driver *d)
{
    while (buf_len(&d->out)) {
        ssize_t n = send(d->fd, buf_ptr(&d->out), buf_len(&d->out), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        buf_consume(&d->out, (size_t)n);
    }
    arm(d);
}

static void receive_some(struct driver *d)
{
    char *room = buf_reserve(&d->in, CHUNK);
    ssize_t n = room ? recv(d->fd, room, CHUNK, MSG_DONTWAIT) : 0;
    if (n > 0) {
        buf_added(&d->in, (size_t)n);
        take_lines(d);
    } else if (n == 0 || errno != EAGAIN) {
        /* Closed, or a line without end: the driver is of no more use; its death is told. */
        uv_poll_stop(d->poll);
        if (d->pid > 0)
            kill(-d->pid, SIGKILL);
    }
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct driver *d = poll->data;
    if (events & UV_WRITABLE)
        send_some(d);
    if ((events & UV_READABLE) && !d->paused)
        receive_some(d);
}

static void arm(struct driver *d)
{
    int events = (d->paused ? 0 : UV_READABLE) | (buf_len(&d->out) ? UV_WRITABLE : 0);
    if (d->dying)
        return;
    if (events)
        uv_poll_start(d->poll, events, on_socket);
    else
        uv_poll_stop(d->poll);
}

/* ---- what is sent ---- */

/* Spares of the output pipes, for when a cell has closed them; what it starts does not get them. */
static const char bash_setup[] = "PS1= PS2=; set +H +m; unset HISTFILE; shopt -u checkwinsize\n"
                                 "exec 61>&1 62>&2\n"
                                 "printf '{\"event\":\"ready\"}\\n' >&3\n";
/* A line of its own: an interrupt drops the rest of the one it comes in. Not traced by set -x. */
static const char bash_after[] =
    "{ printf '{\"event\":\"status\",\"status\":%d}\\n' $? >&3; PS1= PS2= PROMPT_COMMAND=;"
    " [[ -e /proc/self/fd/1 ]] || exec 1>&61; } 2>/dev/null\n"
    "[[ -e /proc/self/fd/2 ]] || exec 2>&62\n";

/* As $'…': on one line, whatever it is. */
static void append_quoted(struct buf *out, struct str text)
{
    buf_append_z(out, "$'");
    for (size_t i = 0; i < text.len; i++) {
        switch (text.p[i]) {
        case '\0':
            break; /* bash has none */
        case '\n':
            buf_append_z(out, "\\n");
            break;
        case '\'':
        case '\\':
            buf_append_char(out, '\\'); /* fall through */
        default:
            buf_append_char(out, text.p[i]);
        }
    }
    buf_append_char(out, '\'');
}

static void append_exports(struct buf *out, const json_t *changes)
{
    const char *name;
    json_t *value, *all = (json_t *)changes;
    json_object_foreach (all, name, value) {
        buf_append_z(out, json_is_string(value) ? "export " : "unset -v ");
        append_quoted(out, str_from(name));
        if (json_is_string(value)) {
            buf_append_char(out, '=');
            append_quoted(out, str_from(json_string_value(value)));
        }
        buf_append_char(out, '\n');
    }
}

static void append_script(struct buf *out, struct str code, const struct kernel_env *env)
{
    append_exports(out, env->before);
    buf_append_z(out, "eval -- ");
    append_quoted(out, code);
    buf_append_z(out, " </dev/null 3>&- 61>&- 62>&-\n");
    buf_append_z(out, bash_after);
    append_exports(out, env->after);
    buf_append_z(out, "printf '{\"event\":\"done\"}\\n' >&3\n");
}

static void append_json(struct buf *out, struct str code, const struct kernel_env *env)
{
    json_t *line = json_pack("{s:s%,s:O?,s:O?}", "code", code.p, code.len, "before", env->before,
                             "after", env->after);
    _cleanup_free_ char *text = json_dumps(line, JSON_COMPACT);
    json_decref(line);
    buf_append_z(out, text ? text : "{}");
    buf_append_char(out, '\n');
}

/* ---- the kernel ---- */

static void driver_execute(struct kernel *k, struct str code, const struct kernel_env *env)
{
    struct driver *d = CONTAINER_OF(k, struct driver, base);
    outlet_drain(d->text_out); /* from before; belongs to nobody */
    outlet_drain(d->text_err);
    d->running = true;
    (d->is_bash ? append_script : append_json)(&d->out, code, env);
    send_some(d);
    d->base.events->accepted(++d->count, d->base.arg);
}

static void driver_interrupt(struct kernel *k)
{
    struct driver *d = CONTAINER_OF(k, struct driver, base);
    if (d->pid > 0)
        kill(-d->pid, SIGINT);
}

static void driver_pause(struct kernel *k, bool pause)
{
    struct driver *d = CONTAINER_OF(k, struct driver, base);
    d->paused = pause;
    outlet_pause(d->text_out, pause);
    outlet_pause(d->text_err, pause);
    arm(d);
    if (!pause)
        http_loop_defer(d->loop, &d->more);
}

static void closed(uv_handle_t *handle)
{
    struct driver *d = handle->data;
    fd_closep(&d->fd);
    buf_done(&d->in);
    buf_done(&d->out);
    free(d);
    free(handle);
}

static void driver_close(struct kernel *k)
{
    struct driver *d = CONTAINER_OF(k, struct driver, base);
    d->dying = true;
    http_loop_cancel(d->loop, &d->more);
    if (d->pid > 0) {
        child_forget(d->pid);
        kill(-d->pid, SIGKILL);
        kill(d->pid, SIGKILL);
    }
    outlet_close(d->text_out);
    outlet_close(d->text_err);
    uv_close((uv_handle_t *)d->poll, closed);
}

static const struct kernel_ops ops = {driver_execute, driver_interrupt, driver_pause, driver_close};

static void on_ended(pid_t pid, int status, void *arg)
{
    struct driver *d = arg;
    char why[DEATH_TEXT_SIZE];
    kill(-pid, SIGKILL); /* what it started: be it copies of itself */
    d->pid = 0;
    if (d->running) /* its last words */
        receive_some(d);
    if (d->dying)
        return;
    outlet_drain(d->text_out);
    outlet_drain(d->text_err);
    death_describe(status, STR(""), why);
    d->base.events->dead(why, d->base.arg);
}

static struct driver *open_driver(const struct kernel_options *o, char *const *argv, bool is_bash,
                                  struct err *err)
{
    int ends[2], out = -1, err_fd = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        err_os(err, errno, "start a kernel");
        return NULL;
    }
    struct driver *d = xcalloc(1, sizeof *d);
    d->base = (struct kernel){&ops, o->events, o->arg};
    d->loop = o->loop;
    d->more.run = take_more;
    d->fd = ends[0];
    buf_init(&d->in, LINE_MAX_BYTES);
    buf_init(&d->out, LINE_MAX_BYTES);
    d->poll = xmalloc(sizeof *d->poll);
    d->poll->data = d;
    uv_poll_init(o->loop, d->poll, d->fd);
    int rc = outlet_open(o->loop, on_out, d, &d->text_out, &out);
    if (rc == 0)
        rc = outlet_open(o->loop, on_err, d, &d->text_err, &err_fd);
    if (rc == 0) {
        const struct child_spec spec = {
            argv, o->envp, o->cwd, {is_bash ? ends[1] : -1, out, err_fd, ends[1]}};
        d->pid = rc = child_spawn(&spec);
    }
    fd_closep(&out);
    fd_closep(&err_fd);
    close(ends[1]);
    if (rc < 0) {
        driver_close(&d->base);
        err_os(err, -rc, "start a kernel");
        return NULL;
    }
    arm(d);
    child_watch(d->pid, on_ended, d);
    return d;
}

struct kernel *driver_open(const struct kernel_options *o, char *const *argv, struct err *err)
{
    struct driver *d = open_driver(o, argv, false, err);
    return d ? &d->base : NULL;
}

struct kernel *driver_bash_open(const struct kernel_options *o, struct err *err)
{
    char *argv[] = {(char *)"/bin/bash",   (char *)"--norc", (char *)"--noprofile",
                    (char *)"--noediting", (char *)"-i",     NULL};
    struct driver *d = open_driver(o, argv, true, err);
    if (!d)
        return NULL;
    d->is_bash = true;
    buf_append_z(&d->out, bash_setup);
    send_some(d);
    return &d->base;
}
