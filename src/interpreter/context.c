/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts and their executions. */
#include "interpreter/context.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "http/loop.h"
#include "interpreter/death.h"
#include "interpreter/environment.h"
#include "interpreter/event.h"
#include "interpreter/kernel.h"
#include "interpreter/language.h"
#include "interpreter/nursery.h"
#include "interpreter/paths.h"

enum {
    ID_SIZE = 37,
    KEEPALIVE_MS = 5000,
    INTERRUPT_AGAIN_MS = 1000,
    INTERRUPTS_MOST = 10, /* a kernel that does not come back is of no more use */
    START_MOST_MS = 60000,
    LINE_BYTES_MAX = 1 << 30,
    QUEUED_MOST = 256 << 10, /* bytes the client has not taken: above it the kernel waits */
};

struct execution {
    TAILQ_ENTRY(execution) link;
    struct context *context;
    struct http_exchange *exchange; /* NULL: the client is gone */
    char *code;
    size_t code_len;
    json_t *env;
};

struct context {
    TAILQ_ENTRY(context) link;
    struct contexts *all;
    char id[ID_SIZE];
    const struct language *language;
    char *cwd;
    struct kernel *kernel; /* NULL: not started, or dead */
    bool is_default, ready, removed;
    uint64_t env_generation;   /* of the variables that the kernel has; 0: those at its start */
    json_t *globals;           /* as the kernel has them */
    struct execution *running; /* handed to the kernel */
    bool told_error;
    unsigned interrupts; /* of what runs, since its client left */
    TAILQ_HEAD(, execution) queue;
    uv_timer_t *timer; /* starting: too long; running: keepalive, or interrupting again */
    struct http_task advance;
};

struct contexts {
    uv_loop_t *loop;
    struct nursery *nursery;
    TAILQ_HEAD(, context) list;
};

static void start_kernel(struct context *c);
static void start_next(struct context *c);

static void advance_later(struct context *c)
{
    http_loop_defer(c->all->loop, &c->advance);
}

/* ---- what the client hears ---- */

static void write_line(struct context *c, struct buf *line)
{
    struct execution *e = c->running;
    if (e && e->exchange && buf_len(line)) {
        http_respond_write(e->exchange, buf_ptr(line), buf_len(line));
        if (c->kernel && http_respond_queued(e->exchange) > QUEUED_MOST)
            kernel_pause(c->kernel, true);
        if (uv_is_active((uv_handle_t *)c->timer))
            uv_timer_again(c->timer);
    }
    buf_done(line);
}

static void execution_free(struct execution *e)
{
    free(e->code);
    json_decref(e->env);
    free(e);
}

/* The answer ends; the execution is gone. */
static void finish_answer(struct execution *e)
{
    struct http_exchange *x = e->exchange;
    if (x) {
        struct buf line;
        buf_init(&line, LINE_BYTES_MAX);
        event_end(&line);
        http_exchange_on(x, NULL, NULL);
        http_respond_write(x, buf_ptr(&line), buf_len(&line));
        http_respond_end(x);
        buf_done(&line);
    }
    execution_free(e);
}

static void tell_error(struct context *c, struct str name, struct str value, struct str traceback)
{
    struct buf line;
    if (c->told_error)
        return;
    c->told_error = true;
    buf_init(&line, LINE_BYTES_MAX);
    event_error(&line, name, value, traceback);
    write_line(c, &line);
}

/* Ends what runs with an error of ours. */
static void fail_running(struct context *c, const char *name, const char *value)
{
    struct execution *e = c->running;
    if (!e)
        return;
    tell_error(c, str_from(name), str_from(value), STR(""));
    c->running = NULL;
    uv_timer_stop(c->timer);
    finish_answer(e);
}

/* ---- events of the kernel ---- */

static void on_ready(void *arg)
{
    struct context *c = arg;
    c->ready = true;
    uv_timer_stop(c->timer);
    advance_later(c);
}

static void on_accepted(json_int_t count, void *arg)
{
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    event_count(&line, count);
    write_line(arg, &line);
}

static void on_output(bool is_stderr, struct str text, void *arg)
{
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    event_output(&line, is_stderr, text);
    write_line(arg, &line);
}

static void on_result(const json_t *bundle, bool is_main, void *arg)
{
    struct buf line;
    if (!json_is_object(bundle))
        return;
    buf_init(&line, LINE_BYTES_MAX);
    event_result(&line, bundle, is_main);
    write_line(arg, &line);
}

static void on_failed(struct str name, struct str value, struct str traceback, void *arg)
{
    tell_error(arg, name, value, traceback);
}

static void on_done(void *arg)
{
    struct context *c = arg;
    struct execution *e = c->running;
    c->running = NULL;
    uv_timer_stop(c->timer);
    kernel_pause(c->kernel, false);
    if (e)
        finish_answer(e);
    advance_later(c);
}

static void drop_kernel(struct context *c)
{
    if (c->kernel)
        kernel_close(c->kernel);
    c->kernel = NULL;
    c->ready = false;
    json_decref(c->globals);
    c->globals = NULL;
    uv_timer_stop(c->timer);
}

static void on_dead(const char *why, void *arg)
{
    struct context *c = arg;
    bool was_ready = c->ready;
    log_warning("kernel died", "context=%s language=%s why=\"%s\"", c->id,
                language_name(c->language), why);
    drop_kernel(c);
    fail_running(c, "UnexpectedEndOfExecution", why);
    if (!was_ready && !TAILQ_EMPTY(&c->queue)) {
        /* Whoever waits for a kernel that does not start is told, one for each attempt. */
        c->running = TAILQ_FIRST(&c->queue);
        TAILQ_REMOVE(&c->queue, c->running, link);
        c->told_error = false;
        fail_running(c, "UnexpectedEndOfExecution", why);
    }
    advance_later(c);
}

static const struct kernel_events kernel_events = {on_ready,  on_accepted, on_output, on_result,
                                                   on_failed, on_done,     on_dead};

/* ---- running ---- */

static void on_keepalive(uv_timer_t *timer)
{
    struct context *c = timer->data;
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    event_keepalive(&line);
    write_line(c, &line);
}

/* Code may catch the first interrupt. */
static void on_interrupt_again(uv_timer_t *timer)
{
    struct context *c = timer->data;
    if (++c->interrupts > INTERRUPTS_MOST)
        on_dead("The kernel did not come back from an interrupt", c);
    else if (c->kernel && c->running)
        kernel_interrupt(c->kernel);
}

static void interrupt(struct context *c)
{
    if (!c->kernel)
        return;
    c->interrupts = 1;
    kernel_pause(c->kernel, false);
    kernel_interrupt(c->kernel);
    uv_timer_start(c->timer, on_interrupt_again, INTERRUPT_AGAIN_MS, INTERRUPT_AGAIN_MS);
}

static void on_drained(struct http_exchange *x, void *arg)
{
    struct execution *e = arg;
    struct context *c = e->context;
    if (c->running == e && c->kernel)
        kernel_pause(c->kernel, false);
}

static void on_closed(struct http_exchange *x, void *arg)
{
    struct execution *e = arg;
    struct context *c = e->context;
    e->exchange = NULL;
    if (c->running == e) {
        interrupt(c);
        return;
    }
    TAILQ_REMOVE(&c->queue, e, link);
    execution_free(e);
}

static const struct http_exchange_events exchange_events = {on_drained, on_closed};

static void merge(json_t **into, const json_t *changes)
{
    if (!*into)
        *into = json_object();
    json_object_update(*into, (json_t *)changes);
}

/* What must be set before this execution and reset after it. The kernel has had the globals since
 * its start, unless they have changed since. */
static void prepare_env(struct context *c, const struct execution *e, struct kernel_env *ret)
{
    uint64_t generation;
    const char *name;
    json_t *value, *globals = (json_t *)environment_get(&generation);
    *ret = (struct kernel_env){0};
    if (generation != c->env_generation) {
        json_object_foreach (c->globals, name, value) {
            if (!json_object_get(globals, name)) {
                json_t *gone = json_pack("{s:n}", name);
                merge(&ret->before, gone);
                json_decref(gone);
            }
        }
        merge(&ret->before, globals);
        json_decref(c->globals);
        c->globals = json_copy(globals);
        c->env_generation = generation;
    }
    json_object_foreach (e->env, name, value) {
        json_t *old = json_object_get(globals, name);
        if (!ret->after)
            ret->after = json_object();
        json_object_set_new(ret->after, name, old ? json_incref(old) : json_null());
    }
    if (e->env)
        merge(&ret->before, e->env);
}

static void start_next(struct context *c)
{
    struct execution *e = TAILQ_FIRST(&c->queue);
    struct kernel_env env;
    if (c->running || !e || c->removed)
        return;
    if (!c->kernel) {
        start_kernel(c);
        return;
    }
    if (!c->ready)
        return;
    TAILQ_REMOVE(&c->queue, e, link);
    c->running = e;
    c->told_error = false;
    prepare_env(c, e, &env);
    uv_timer_start(c->timer, on_keepalive, KEEPALIVE_MS, KEEPALIVE_MS);
    death_look();
    kernel_execute(c->kernel, (struct str){e->code, e->code_len}, &env);
    json_decref(env.before);
    json_decref(env.after);
}

static void on_advance(struct http_task *task)
{
    start_next(CONTAINER_OF(task, struct context, advance));
}

static void on_start_too_long(uv_timer_t *timer)
{
    on_dead("The kernel did not start in time", timer->data);
}

static void start_kernel(struct context *c)
{
    struct err err;
    uint64_t generation;
    char **envp = environment_list();
    const struct kernel_options options = {c->all->loop, &kernel_events, c, c->cwd, envp};
    c->globals = json_copy((json_t *)environment_get(&generation));
    c->env_generation = generation;
    c->ready = false;
    c->kernel = language_start(c->language, &options, c->all->nursery, &err);
    environment_list_free(envp);
    if (!c->kernel)
        on_dead(err.message, c);
    else
        uv_timer_start(c->timer, on_start_too_long, START_MOST_MS, 0);
}

void context_execute(struct context *c, struct http_exchange *x, struct str code, json_t *env)
{
    struct execution *e = xmalloc(sizeof *e);
    *e = (struct execution){.context = c,
                            .exchange = x,
                            .code = xstrndup(code.p, code.len),
                            .code_len = code.len,
                            .env = json_object_size(env) ? json_incref(env) : NULL};
    TAILQ_INSERT_TAIL(&c->queue, e, link);
    http_exchange_on(x, &exchange_events, e);
    http_respond_header(x, "Content-Type", "application/json");
    http_respond_start(x, 200, HTTP_LENGTH_CHUNKED);
    start_next(c);
}

/* ---- contexts ---- */

json_t *context_describe(const struct context *c)
{
    return json_pack("{s:s,s:s,s:s}", "id", c->id, "language", language_name(c->language), "cwd",
                     c->cwd);
}

json_t *contexts_list(const struct contexts *all)
{
    const struct context *c;
    json_t *list = json_array();
    TAILQ_FOREACH(c, &all->list, link)
    json_array_append_new(list, context_describe(c));
    return list;
}

struct context *contexts_find(struct contexts *all, struct str id)
{
    struct context *c;
    TAILQ_FOREACH(c, &all->list, link)
    if (str_eqz(id, c->id))
        return c;
    return NULL;
}

static struct context *create(struct contexts *all, const struct language *language,
                              const char *cwd)
{
    char hex[33];
    struct context *c = xcalloc(1, sizeof *c);
    random_hex(hex, 32);
    snprintf(c->id, sizeof c->id, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
    c->all = all;
    c->language = language;
    c->cwd = xstrdup(cwd);
    c->advance.run = on_advance;
    c->timer = xmalloc(sizeof *c->timer);
    uv_timer_init(all->loop, c->timer);
    c->timer->data = c;
    TAILQ_INIT(&c->queue);
    TAILQ_INSERT_TAIL(&all->list, c, link);
    return c;
}

static const struct language *find_language(struct str name, struct err *err)
{
    const struct language *language = language_find(name);
    if (!language)
        err_set(err, ERR_INTERNAL, 0, "Language '%.*s' is not supported",
                name.len > 64 ? 64 : (int)name.len, name.p);
    return language;
}

struct context *contexts_default(struct contexts *all, struct str name, struct err *err)
{
    struct context *c;
    const struct language *language = find_language(name, err);
    if (!language)
        return NULL;
    TAILQ_FOREACH(c, &all->list, link)
    if (c->is_default && c->language == language)
        return c;
    c = create(all, language, PATH_HOME);
    c->is_default = true;
    return c;
}

struct context *contexts_create(struct contexts *all, struct str name, struct str cwd,
                                struct err *err)
{
    struct stat st;
    _cleanup_free_ char *path = xstrndup(cwd.p, cwd.len);
    const struct language *language = find_language(name, err);
    if (!language)
        return NULL;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        err_set(err, ERR_INTERNAL, 0, "Cannot use '%.128s' as a working directory", path);
        return NULL;
    }
    struct context *c = create(all, language, path);
    start_kernel(c);
    return c;
}

static void timer_closed(uv_handle_t *handle)
{
    struct context *c = handle->data;
    free(c->cwd);
    free(c);
    free(handle);
}

void context_remove(struct context *c)
{
    struct execution *e;
    c->removed = true;
    TAILQ_REMOVE(&c->all->list, c, link);
    fail_running(c, "ExecutionAborted", "Context was removed");
    while ((e = TAILQ_FIRST(&c->queue))) {
        TAILQ_REMOVE(&c->queue, e, link);
        c->running = e;
        c->told_error = false;
        fail_running(c, "ExecutionAborted", "Context was removed");
    }
    drop_kernel(c);
    http_loop_cancel(c->all->loop, &c->advance);
    uv_close((uv_handle_t *)c->timer, timer_closed);
}

void context_restart(struct context *c)
{
    fail_running(c, "ContextRestarting", "Context was restarted");
    drop_kernel(c);
    start_kernel(c);
}

/* Python's kernel is what most sandboxes are for: ready before it is asked for. */
static void on_warm(void *arg)
{
    struct err err;
    struct context *c = contexts_default(arg, STR("python"), &err);
    if (c && !c->kernel)
        start_kernel(c);
}

struct contexts *contexts_new(uv_loop_t *loop)
{
    struct err err;
    struct contexts *all = xcalloc(1, sizeof *all);
    all->loop = loop;
    TAILQ_INIT(&all->list);
    contexts_default(all, STR("python"), &err);
    contexts_default(all, STR("javascript"), &err);
    char **envp = environment_list();
    all->nursery = nursery_open(loop, envp, on_warm, all);
    return all;
}
