/* SPDX-License-Identifier: Apache-2.0 */
/* The table of processes and their life. */
#include "agent/process.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/process-internal.h"
#include "agent/spawn.h"
#include "agent/terminal.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

enum { BUCKETS = 1024 };

struct process_list {
    struct process *first, *last;
    size_t count;
};

struct process_table {
    uv_loop_t *loop;
    struct process *buckets[BUCKETS]; /* by pid; the newest of a pid comes first */
    struct process_list live, finished;
    struct spool_pool pool;
    uv_timer_t expiry;
};

/* ---- lists ---- */

static void list_add(struct process_list *list, struct process *p)
{
    p->next = NULL;
    p->previous = list->last;
    if (list->last)
        list->last->next = p;
    else
        list->first = p;
    list->last = p;
    list->count++;
}

static void list_remove(struct process_list *list, struct process *p)
{
    *(p->previous ? &p->previous->next : &list->first) = p->next;
    *(p->next ? &p->next->previous : &list->last) = p->previous;
    list->count--;
}

static struct process **bucket(struct process_table *table, pid_t pid)
{
    return &table->buckets[(uint32_t)pid % BUCKETS];
}

/* ---- end of life ---- */

void process_free_if_unused(struct process *p)
{
    if (!p->forgotten || p->readers || p->handles)
        return;
    spool_done(&p->spool);
    process_config_done(&p->config);
    free(p);
}

void process_handle_closed(uv_handle_t *handle)
{
    struct process *p = handle->data;
    p->handles--;
    process_free_if_unused(p);
}

/* Takes it out of the table; readers may still finish with it. */
static void forget(struct process *p)
{
    struct process **at = bucket(p->table, p->pid);
    while (*at != p)
        at = &(*at)->hash_next;
    *at = p->hash_next;
    list_remove(p->ended ? &p->table->finished : &p->table->live, p);
    p->forgotten = true;
    process_free_if_unused(p);
}

static void close_handles(struct process *p)
{
    process_input_fail(p, -EPIPE);
    process_channel_close(&p->out);
    process_channel_close(&p->err);
    uv_close((uv_handle_t *)&p->deadline, process_handle_closed);
    uv_close((uv_handle_t *)&p->flush, process_handle_closed);
}

/* Forgets what has been remembered long enough, oldest first. Who is still read is given another
 * round. */
static void expiry_due(uv_timer_t *timer)
{
    struct process_table *table = timer->data;
    uint64_t now = uv_now(table->loop), keep = PROCESS_FINISHED_S * UINT64_C(1000);
    for (size_t left = table->finished.count; left; left--) {
        struct process *p = table->finished.first;
        if (p->ended_at + keep > now && table->finished.count <= PROCESS_FINISHED_MAX)
            break;
        if (p->readers) {
            list_remove(&table->finished, p);
            list_add(&table->finished, p);
            p->ended_at = now;
        } else {
            forget(p);
        }
    }
    if (table->finished.first) {
        uv_timer_start(timer, expiry_due, table->finished.first->ended_at + keep - now, 0);
    } else if (!table->live.first) {
        /* All is quiet: what a busy time has taken goes back, idle sandboxes are to be small. */
        spool_pool_done(&table->pool);
        malloc_trim(0);
    }
}

static void end(struct process *p)
{
    struct process_table *table = p->table;
    p->ended = true;
    p->ended_at = uv_now(table->loop);
    process_output_flush(p);
    close_handles(p);
    list_remove(&table->live, p);
    list_add(&table->finished, p);
    process_wake_readers(p);
    if (!uv_is_active((uv_handle_t *)&table->expiry) ||
        table->finished.count > PROCESS_FINISHED_MAX)
        expiry_due(&table->expiry);
}

void process_settle(struct process *p)
{
    if (!p->reaped || p->ended)
        return;
    if (p->forsaken) {
        process_output_drain(&p->out);
        process_output_drain(&p->err);
    }
    if (p->out.fd < 0 && p->err.fd < 0)
        end(p);
}

static void pid_ready(uv_poll_t *poll, int status, int events)
{
    struct process *p = poll->data;
    siginfo_t info = {0};
    int rc = waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG);
    if (rc < 0 && errno != ECHILD)
        return;
    if (rc == 0 && info.si_pid == 0) /* not yet */
        return;
    if (rc < 0) { /* somebody else has reaped it: how it ended is not known */
        info.si_code = CLD_KILLED;
        info.si_status = SIGKILL;
    }
    p->reaped = true;
    p->end_code = info.si_code;
    p->end_status = info.si_status;
    uv_close((uv_handle_t *)&p->pid_poll, process_handle_closed);
    fd_closep(&p->pidfd);
    process_settle(p);
}

static const char *signal_text(int number)
{
    /* The words that clients of this wire know. */
    static const char *const texts[] = {
        [SIGHUP] = "hangup",
        [SIGINT] = "interrupt",
        [SIGQUIT] = "quit",
        [SIGILL] = "illegal instruction",
        [SIGTRAP] = "trace/breakpoint trap",
        [SIGABRT] = "aborted",
        [SIGBUS] = "bus error",
        [SIGFPE] = "floating point exception",
        [SIGKILL] = "killed",
        [SIGUSR1] = "user defined signal 1",
        [SIGSEGV] = "segmentation fault",
        [SIGUSR2] = "user defined signal 2",
        [SIGPIPE] = "broken pipe",
        [SIGALRM] = "alarm clock",
        [SIGTERM] = "terminated",
    };
    return number > 0 && (size_t)number < ARRAY_SIZE(texts) ? texts[number] : NULL;
}

bool process_ended(const struct process *p, struct process_end *ret)
{
    if (!p->ended)
        return false;
    ret->exited = p->end_code == CLD_EXITED;
    ret->exit_code = ret->exited ? p->end_status : -1;
    const char *text = signal_text(p->end_status);
    const char *dumped = p->end_code == CLD_DUMPED ? " (core dumped)" : "";
    if (ret->exited)
        snprintf(ret->status, sizeof ret->status, "exit status %d", p->end_status);
    else if (text)
        snprintf(ret->status, sizeof ret->status, "signal: %s%s", text, dumped);
    else
        snprintf(ret->status, sizeof ret->status, "signal: signal %d%s", p->end_status, dumped);
    return true;
}

bool process_timed_out(const struct process *p)
{
    return p->timed_out;
}

/* ---- start ---- */

static void open_handles(struct process *p, struct spawned *s)
{
    uv_loop_t *loop = p->table->loop;
    uv_timer_init(loop, &p->deadline);
    uv_timer_init(loop, &p->flush);
    p->deadline.data = p->flush.data = p;
    p->handles = 2;
    p->pidfd = TAKE_FD(s->pidfd);
    /* These fail only for descriptors that cannot be polled; pipes, terminals, pidfds can. */
    int rc = uv_poll_init(loop, &p->pid_poll, p->pidfd);
    p->pid_poll.data = p;
    p->handles++;
    rc |= process_channel_open(p, &p->in, TAKE_FD(s->in), SPOOL_STDOUT);
    rc |= process_channel_open(p, &p->out, TAKE_FD(s->out), p->pty ? SPOOL_PTY : SPOOL_STDOUT);
    rc |= process_channel_open(p, &p->err, TAKE_FD(s->err), SPOOL_STDERR);
    if (rc < 0)
        abort();
    uv_poll_start(&p->pid_poll, UV_READABLE, pid_ready);
    process_output_watch(p);
}

int process_start(struct process_table *table, struct process_start_request *request,
                  const struct passwd_user *user, char *const *envp, const char *cwd,
                  struct process **ret, struct err *err)
{
    struct spawn_request spawn = {
        .argv = request->config.argv,
        .envp = envp,
        .cwd = cwd,
        .user = user,
        .stdin_open = request->stdin_open,
        .pty = request->pty,
        .cols = request->size.cols,
        .rows = request->size.rows,
    };
    struct spawned spawned;
    if (table->live.count >= PROCESS_LIVE_MAX)
        return err_set(err, ERR_EXHAUSTED, 0, "%d processes run already", PROCESS_LIVE_MAX);
    int rc = spawn_process(&spawn, &spawned, err);
    if (rc < 0)
        return rc;
    struct process *p = xcalloc(1, sizeof *p);
    p->table = table;
    p->config = request->config;
    request->config = (struct process_config){0};
    p->pid = spawned.pid;
    p->pty = request->pty;
    p->queue_tail = &p->queue;
    spool_init(&p->spool, PROCESS_SPOOL_BYTES, &table->pool);
    p->hash_next = *bucket(table, p->pid);
    *bucket(table, p->pid) = p;
    list_add(&table->live, p);
    open_handles(p, &spawned);
    if (spawned.exec_errno) {
        char text[320];
        spawn_exec_text(spawned.exec_errno, p->config.argv[0], text, sizeof text);
        spool_append(&p->spool, p->pty ? SPOOL_PTY : SPOOL_STDERR, text, strlen(text));
    }
    *ret = p;
    return 0;
}

static void deadline_due(uv_timer_t *timer)
{
    struct process *p = timer->data;
    p->timed_out = true;
    process_signal(p, SIGKILL, NULL);
    process_wake_readers(p);
}

void process_set_deadline(struct process *p, int64_t ns)
{
    if (p->ended)
        return;
    uv_update_time(p->table->loop);
    uv_timer_start(&p->deadline, deadline_due, (uint64_t)((ns + CLOCK_MS - 1) / CLOCK_MS), 0);
}

/* ---- table ---- */

struct process_table *process_table_new(uv_loop_t *loop)
{
    struct process_table *table = xcalloc(1, sizeof *table);
    table->loop = loop;
    table->pool.budget = PROCESS_SPOOLS_BYTES / SPOOL_SEGMENT;
    uv_timer_init(loop, &table->expiry);
    table->expiry.data = table;
    spawn_setup();
    return table;
}

static void expiry_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void table_drop(struct process *p)
{
    while (p->readers)
        process_detach(p->readers);
    spool_done(&p->spool); /* while the pool is there */
    forget(p);
}

void process_table_free(struct process_table *table)
{
    if (!table)
        return;
    for (struct process *p; (p = table->live.first);) {
        if (!p->reaped) {
            uv_close((uv_handle_t *)&p->pid_poll, process_handle_closed);
            fd_closep(&p->pidfd);
        }
        close_handles(p);
        table_drop(p);
    }
    while (table->finished.first)
        table_drop(table->finished.first);
    spool_pool_done(&table->pool);
    uv_close((uv_handle_t *)&table->expiry, expiry_closed);
}

int process_find(struct process_table *table, const struct process_selector *selector,
                 bool finished_too, struct process **ret, struct err *err)
{
    struct process *p;
    if (selector->tag.p) {
        for (p = table->live.first; p; p = p->next)
            if (p->config.tag && str_eqz(selector->tag, p->config.tag))
                break;
        for (struct process *f = p || !finished_too ? NULL : table->finished.last; f && !p;
             f = f->previous)
            if (f->config.tag && str_eqz(selector->tag, f->config.tag))
                p = f;
        if (!p)
            return err_set(err, ERR_NOT_FOUND, 0, "process with tag '%.*s' not found",
                           selector->tag.len > 64 ? 64 : (int)selector->tag.len, selector->tag.p);
    } else {
        for (p = *bucket(table, (pid_t)selector->pid); p; p = p->hash_next)
            if ((uint32_t)p->pid == selector->pid && (finished_too || !p->ended))
                break;
        if (!p)
            return err_set(err, ERR_NOT_FOUND, 0, "process with pid %u not found", selector->pid);
    }
    *ret = p;
    return 0;
}

void process_each(struct process_table *table, void (*fn)(const struct process *p, void *arg),
                  void *arg)
{
    for (struct process *p = table->live.first; p; p = p->next)
        fn(p, arg);
}

pid_t process_pid(const struct process *p)
{
    return p->pid;
}

const struct process_config *process_config_of(const struct process *p)
{
    return &p->config;
}

int process_signal(struct process *p, int signal_number, struct err *err)
{
    /* By pidfd: it cannot hit another process that got the number meanwhile. */
    if (!p->reaped && syscall(SYS_pidfd_send_signal, p->pidfd, signal_number, NULL, 0) < 0 &&
        errno != ESRCH)
        return err_set(err, ERR_INTERNAL, errno, "signal process %d", (int)p->pid);
    p->forsaken = true;
    process_settle(p);
    return 0;
}

int process_resize(struct process *p, uint16_t cols, uint16_t rows, struct err *err)
{
    if (!p->pty)
        return err_set(err, ERR_INTERNAL, 0, "process %d has no terminal", (int)p->pid);
    if (p->out.fd < 0)
        return 0; /* the program has closed it */
    int rc = terminal_resize(p->out.fd, cols, rows);
    return rc < 0 ? err_set(err, ERR_INTERNAL, -rc, "resize the terminal") : 0;
}
