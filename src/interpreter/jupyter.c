/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of Jupyter's protocol for one kernel.
 *
 * An execution is over when both its reply and the kernel's "idle" came, which travel on two sockets;
 * or some time after "idle", since a kernel that stumbles over what a cell did to it does not reply.
 * Before a message is acted on, the output pipes are drained, since what was printed before it was
 * written there before it was sent. */
#include "interpreter/jupyter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"
#include "http/loop.h"
#include "interpreter/child.h"
#include "interpreter/death.h"
#include "interpreter/nursery.h"
#include "interpreter/outlet.h"
#include "interpreter/paths.h"
#include "interpreter/wire.h"

enum {
    HELLO_MS = 2, /* from an answer that iopub did not show to the next attempt */
    RECONNECT_MS = 2,
    REPLY_MOST_MS = 1000, /* after "idle": it was sent before */
    EARLY_MAX = 4096,
};

enum channel { CHANNEL_SHELL, CHANNEL_IOPUB, CHANNEL_CONTROL, CHANNELS };

static const int socket_type[CHANNELS] = {ZMQ_DEALER, ZMQ_SUB, ZMQ_DEALER};
/* As in the connection file that we write. */
enum { PORT_SHELL = 1, PORT_IOPUB, PORT_STDIN, PORT_CONTROL, PORT_HEARTBEAT };
static const int socket_port[CHANNELS] = {PORT_SHELL, PORT_IOPUB, PORT_CONTROL};

struct jupyter {
    struct kernel base;
    uv_loop_t *loop;
    bool is_r;
    char *address; /* path of the sockets without the port */
    char *connection_file;
    struct wire_session session;
    void *socket[CHANNELS];
    uv_poll_t *poll[CHANNELS];
    struct http_task pump;
    uv_timer_t *timer; /* starting: the next hello; running: no reply comes any more */
    struct nursery_birth *birth;
    struct outlet *out, *err;
    pid_t pid;
    struct buf early; /* what it wrote to standard error before it was ready */
    bool ready, paused, dying;
    char hello_id[WIRE_ID_SIZE];
    bool hello_sent;
    /* the execution that runs */
    char id[WIRE_ID_SIZE];
    bool running, replied, idle;
    json_t *error; /* of the reply: told at the end, if it was not before */
    /* silent requests before and after it (R: the environment) */
    json_t *after;
};

#define PATH_R        "/usr/bin/R"
#define R_KERNEL_CODE "IRkernel::main()"

static void *context; /* of ZeroMQ: one I/O thread for all kernels */

int jupyter_setup(void)
{
    context = zmq_ctx_new();
    return context ? 0 : -errno;
}

/* ---- execution ---- */

static json_t *execute_content(struct str code, bool silent)
{
    return json_pack("{s:s%,s:b,s:b,s:{},s:b,s:b}", "code", code.p, code.len, "silent", silent,
                     "store_history", !silent, "user_expressions", "allow_stdin", 0,
                     "stop_on_error", 0);
}

static void append_r_text(struct buf *out, const char *text)
{
    buf_append_char(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_append_char(out, '\\');
        buf_append_char(out, *text);
    }
    buf_append_char(out, '"');
}

/* IRkernel knows no metadata: code that the user never sees changes its environment. */
static void send_r_environment(struct jupyter *j, const json_t *changes)
{
    const char *name;
    char id[WIRE_ID_SIZE];
    json_t *value, *all = (json_t *)changes;
    struct buf code;
    if (json_object_size(changes) == 0)
        return;
    buf_init(&code, 16 << 20);
    json_object_foreach (all, name, value) {
        buf_append_z(&code, json_is_string(value) ? "do.call(Sys.setenv, setNames(list("
                                                  : "Sys.unsetenv(");
        append_r_text(&code, json_is_string(value) ? json_string_value(value) : name);
        if (json_is_string(value)) {
            buf_append_z(&code, "), ");
            append_r_text(&code, name);
            buf_append_char(&code, ')');
        }
        buf_append_z(&code, ")\n");
    }
    wire_send(j->socket[CHANNEL_SHELL], &j->session, "execute_request", NULL,
              execute_content(buf_str(&code), true), id);
    buf_done(&code);
}

static void jupyter_execute(struct kernel *k, struct str code, const struct kernel_env *env)
{
    struct jupyter *j = CONTAINER_OF(k, struct jupyter, base);
    json_t *metadata = NULL;
    outlet_drain(j->out); /* from before; belongs to nobody */
    outlet_drain(j->err);
    if (j->is_r) {
        send_r_environment(j, env->before);
        j->after = env->after ? json_incref(env->after) : NULL;
    } else if (env->before || env->after) {
        metadata =
            json_pack("{s:{s:O?,s:O?}}", "carrel", "before", env->before, "after", env->after);
    }
    j->running = true;
    j->replied = j->idle = false;
    wire_send(j->socket[CHANNEL_SHELL], &j->session, "execute_request", metadata,
              execute_content(code, false), j->id);
    http_loop_defer(j->loop, &j->pump); /* sending may swallow the event that reading waits for */
}

static struct str member(const json_t *o, const char *name)
{
    const json_t *value = json_object_get(o, name);
    return (struct str){json_string_value(value), json_string_length(value)};
}

static void tell_error(struct jupyter *j, const json_t *content)
{
    struct buf traceback;
    size_t i;
    json_t *line, *list = json_object_get(content, "traceback");
    buf_init(&traceback, 64 << 20);
    json_array_foreach (list, i, line)
        buf_append(&traceback, json_string_value(line), json_string_length(line));
    j->base.events->failed(member(content, "ename"), member(content, "evalue"), buf_str(&traceback),
                           j->base.arg);
    buf_done(&traceback);
}

static void finish(struct jupyter *j)
{
    if (j->error)
        tell_error(j, j->error);
    json_decref(j->error);
    j->error = NULL;
    j->running = false;
    uv_timer_stop(j->timer);
    if (j->after) {
        send_r_environment(j, j->after);
        json_decref(j->after);
        j->after = NULL;
    }
    j->base.events->done(j->base.arg);
}

static void on_no_reply(uv_timer_t *timer)
{
    struct jupyter *j = timer->data;
    j->base.events->failed(STR("ExecutionAborted"),
                           STR("The kernel did not say how the cell ended"), STR(""), j->base.arg);
    finish(j);
}

static void on_iopub(struct jupyter *j, const struct wire_message *m)
{
    const struct kernel_events *events = j->base.events;
    const char *type = wire_type(m);
    const json_t *content = m->content;
    if (strcmp(type, "status") == 0) {
        const char *state = json_string_value(json_object_get(content, "execution_state"));
        j->idle |= state && strcmp(state, "idle") == 0;
    } else if (strcmp(type, "execute_input") == 0) {
        events->accepted(json_integer_value(json_object_get(content, "execution_count")),
                         j->base.arg);
    } else if (strcmp(type, "stream") == 0) {
        const char *name = json_string_value(json_object_get(content, "name"));
        events->output(name && strcmp(name, "stderr") == 0, member(content, "text"), j->base.arg);
    } else if (strcmp(type, "execute_result") == 0 || strcmp(type, "display_data") == 0 ||
               strcmp(type, "update_display_data") == 0) {
        events->result(json_object_get(content, "data"), type[0] == 'e', j->base.arg);
    } else if (strcmp(type, "error") == 0) {
        tell_error(j, content);
    }
}

static void on_shell(struct jupyter *j, const struct wire_message *m)
{
    const char *status = json_string_value(json_object_get(m->content, "status"));
    if (strcmp(wire_type(m), "execute_reply") != 0)
        return;
    j->replied = true;
    if (status && strcmp(status, "error") == 0 && !j->error)
        j->error = json_incref(m->content);
    if (status && strcmp(status, "aborted") == 0)
        j->base.events->failed(STR("ExecutionAborted"), STR("Execution was aborted"), STR(""),
                               j->base.arg);
}

static void say_hello(uv_timer_t *timer);

static void on_message(struct jupyter *j, enum channel channel, const struct wire_message *m)
{
    if (!j->ready) {
        /* A kernel is ready when it has answered us on iopub: then our subscription is there. */
        if (channel == CHANNEL_IOPUB && j->hello_sent && wire_answers(m, j->hello_id)) {
            j->ready = true;
            uv_timer_stop(j->timer);
            j->base.events->ready(j->base.arg);
        } else if (channel == CHANNEL_SHELL && wire_answers(m, j->hello_id)) {
            /* One at a time: R takes its time for each. */
            uv_timer_start(j->timer, say_hello, HELLO_MS, 0);
        }
        return;
    }
    if (!j->running || !wire_answers(m, j->id))
        return;
    outlet_drain(j->out);
    outlet_drain(j->err);
    if (channel == CHANNEL_IOPUB)
        on_iopub(j, m);
    else if (channel == CHANNEL_SHELL)
        on_shell(j, m);
    if (!j->running || !j->idle)
        return;
    if (j->replied)
        finish(j);
    else if (!uv_is_active((uv_handle_t *)j->timer))
        uv_timer_start(j->timer, on_no_reply, REPLY_MOST_MS, 0);
}

/* Only its own kernel reaches these sockets: what it was to say is lost, be it the end of a cell. */
static void on_unreadable(struct jupyter *j)
{
    j->base.events->dead("The kernel sent a message that cannot be read", j->base.arg);
}

/* ---- sockets ---- */

/* ZeroMQ's descriptors tell only of changes: everything is read until there is no more. */
static void pump_channel(struct jupyter *j, enum channel channel)
{
    struct wire_message m;
    int rc;
    while (!j->paused && !j->dying && j->socket[channel] &&
           (rc = wire_receive(j->socket[channel], &j->session, &m)) != 0) {
        if (rc == -EBADMSG)
            on_unreadable(j);
        if (rc < 0)
            break;
        on_message(j, channel, &m);
        wire_message_done(&m);
    }
}

static void pump(struct http_task *task)
{
    struct jupyter *j = CONTAINER_OF(task, struct jupyter, pump);
    pump_channel(j, CHANNEL_IOPUB); /* before the reply, which may end the execution */
    pump_channel(j, CHANNEL_SHELL);
    pump_channel(j, CHANNEL_CONTROL);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    pump(&((struct jupyter *)poll->data)->pump);
}

static void say_hello(uv_timer_t *timer)
{
    struct jupyter *j = timer->data;
    wire_send(j->socket[CHANNEL_SHELL], &j->session, "kernel_info_request", NULL, json_object(),
              j->hello_id);
    j->hello_sent = true;
    http_loop_defer(j->loop, &j->pump);
}

static int connect_channel(struct jupyter *j, enum channel c)
{
    int fd, none = 0, unlimited = 0, quick = RECONNECT_MS;
    size_t size = sizeof fd;
    _cleanup_free_ char *address = xasprintf("ipc://%s-%d", j->address, socket_port[c]);
    void *s = zmq_socket(context, socket_type[c]);
    if (!s)
        return -errno;
    j->socket[c] = s;
    zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(s, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    zmq_setsockopt(s, ZMQ_RECONNECT_IVL, &quick, sizeof quick);
    if (socket_type[c] == ZMQ_SUB)
        zmq_setsockopt(s, ZMQ_SUBSCRIBE, "", 0);
    else
        zmq_setsockopt(s, ZMQ_ROUTING_ID, j->session.id, WIRE_ID_SIZE - 1);
    if (zmq_connect(s, address) < 0 || zmq_getsockopt(s, ZMQ_FD, &fd, &size) < 0)
        return -errno;
    j->poll[c] = xmalloc(sizeof *j->poll[c]);
    j->poll[c]->data = j;
    uv_poll_init(j->loop, j->poll[c], fd);
    return uv_poll_start(j->poll[c], UV_READABLE, on_socket);
}

static void connect_all(struct jupyter *j)
{
    for (int c = 0; c < CHANNELS; c++)
        connect_channel(j, (enum channel)c);
    uv_timer_start(j->timer, say_hello, 0, 0);
}

/* ---- the process ---- */

static void on_ended(pid_t pid, int status, void *arg)
{
    struct jupyter *j = arg;
    char why[DEATH_TEXT_SIZE];
    kill(-pid, SIGKILL); /* what it started: be it copies of itself */
    j->pid = 0;
    outlet_drain(j->out);
    outlet_drain(j->err);
    death_describe(status, j->ready ? STR("") : buf_str(&j->early), why);
    j->base.events->dead(why, j->base.arg);
}

static void on_born(pid_t pid, void *arg)
{
    struct jupyter *j = arg;
    if (pid <= 0)
        j->birth = NULL;
    if (pid == 0) {
        connect_all(j);
    } else if (pid > 0) {
        j->pid = pid;
        child_watch(pid, on_ended, j);
    } else if (!j->pid) {
        j->base.events->dead("The kernel could not be started", j->base.arg);
    }
}

static void on_out(struct str text, void *arg)
{
    struct jupyter *j = arg;
    if (j->running)
        j->base.events->output(false, text, j->base.arg);
}

static void on_err(struct str text, void *arg)
{
    struct jupyter *j = arg;
    if (j->running)
        j->base.events->output(true, text, j->base.arg);
    else if (!j->ready)
        buf_append_str(&j->early, text);
}

static void jupyter_interrupt(struct kernel *k)
{
    struct jupyter *j = CONTAINER_OF(k, struct jupyter, base);
    /* The kernel leads its group: what it started is interrupted with it. */
    if (j->pid > 0 && kill(-j->pid, SIGINT) < 0)
        kill(j->pid, SIGINT);
}

static void jupyter_pause(struct kernel *k, bool pause)
{
    struct jupyter *j = CONTAINER_OF(k, struct jupyter, base);
    j->paused = pause;
    outlet_pause(j->out, pause);
    outlet_pause(j->err, pause);
    if (!pause)
        http_loop_defer(j->loop, &j->pump);
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void last_closed(uv_handle_t *handle)
{
    struct jupyter *j = handle->data;
    for (int c = 0; c < CHANNELS; c++)
        if (j->socket[c])
            zmq_close(j->socket[c]);
    json_decref(j->after);
    json_decref(j->error);
    buf_done(&j->early);
    free(j->address);
    free(j->connection_file);
    free(j);
    free(handle);
}

static void remove_files(struct jupyter *j)
{
    unlink(j->connection_file);
    for (int port = PORT_SHELL; port <= PORT_HEARTBEAT; port++) {
        _cleanup_free_ char *path = xasprintf("%s-%d", j->address, port);
        unlink(path);
    }
}

static void jupyter_close(struct kernel *k)
{
    struct jupyter *j = CONTAINER_OF(k, struct jupyter, base);
    j->dying = true;
    http_loop_cancel(j->loop, &j->pump);
    nursery_forget(j->birth);
    if (j->pid > 0) {
        child_forget(j->pid);
        kill(-j->pid, SIGKILL);
        kill(j->pid, SIGKILL);
    }
    outlet_close(j->out);
    outlet_close(j->err);
    remove_files(j);
    for (int c = 0; c < CHANNELS; c++)
        if (j->poll[c])
            uv_close((uv_handle_t *)j->poll[c], free_handle);
    /* Closed after the polls: by then nothing waits on the sockets' descriptors. */
    uv_close((uv_handle_t *)j->timer, last_closed);
}

static const struct kernel_ops ops = {jupyter_execute, jupyter_interrupt, jupyter_pause,
                                      jupyter_close};

/* ---- opening ---- */

static int write_connection_file(struct jupyter *j)
{
    json_t *all = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:i}", "transport", "ipc", "ip",
                            j->address, "key", j->session.key, "signature_scheme", "hmac-sha256",
                            "shell_port", PORT_SHELL, "iopub_port", PORT_IOPUB, "stdin_port",
                            PORT_STDIN, "control_port", PORT_CONTROL, "hb_port", PORT_HEARTBEAT);
    _cleanup_free_ char *text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return fd_replace_file(AT_FDCWD, j->connection_file, text, strlen(text), 0600);
}

/* The two pipes' writing ends are the caller's. */
static int open_common(const struct kernel_options *o, bool is_r, struct jupyter **ret, int *out,
                       int *err_fd)
{
    char id[WIRE_ID_SIZE];
    struct jupyter *j = xcalloc(1, sizeof *j);
    random_hex(id, 12);
    j->base = (struct kernel){&ops, o->events, o->arg};
    j->loop = o->loop;
    j->is_r = is_r;
    j->address = xasprintf("%s/%s", PATH_RUN, id);
    j->connection_file = xasprintf("%s/%s.json", PATH_RUN, id);
    j->pump.run = pump;
    buf_init(&j->early, EARLY_MAX);
    j->timer = xmalloc(sizeof *j->timer);
    uv_timer_init(o->loop, j->timer);
    j->timer->data = j;
    wire_session_init(&j->session);
    int rc = write_connection_file(j);
    if (rc == 0)
        rc = outlet_open(o->loop, on_out, j, &j->out, out);
    if (rc == 0)
        rc = outlet_open(o->loop, on_err, j, &j->err, err_fd);
    if (rc < 0) {
        fd_closep(out);
        jupyter_close(&j->base);
        return rc;
    }
    *ret = j;
    return 0;
}

struct kernel *jupyter_python_open(const struct kernel_options *o, struct nursery *nursery,
                                   struct err *err)
{
    struct jupyter *j;
    _cleanup_close_ int out = -1, err_fd = -1;
    int rc = open_common(o, false, &j, &out, &err_fd);
    if (rc < 0) {
        err_os(err, -rc, "start a kernel");
        return NULL;
    }
    const struct nursery_request request = {j->connection_file, o->cwd, o->envp, out, err_fd};
    j->birth = nursery_fork(nursery, &request, on_born, j);
    return &j->base;
}

struct kernel *jupyter_r_open(const struct kernel_options *o, struct err *err)
{
    struct jupyter *j;
    _cleanup_close_ int out = -1, err_fd = -1;
    int rc = open_common(o, true, &j, &out, &err_fd);
    if (rc < 0) {
        err_os(err, -rc, "start a kernel");
        return NULL;
    }
    char *argv[] = {(char *)PATH_R,   (char *)"--slave",  (char *)"-e", (char *)R_KERNEL_CODE,
                    (char *)"--args", j->connection_file, NULL};
    const struct child_spec spec = {argv, o->envp, o->cwd, {-1, out, err_fd, -1}};
    pid_t pid = child_spawn(&spec);
    if (pid < 0) {
        jupyter_close(&j->base);
        err_os(err, -pid, "start R");
        return NULL;
    }
    j->pid = pid;
    connect_all(j);
    child_watch(pid, on_ended, j);
    return &j->base;
}
