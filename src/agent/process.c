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

#include "agent/keep.h"
#include "agent/lanes.h"
#include "agent/process-internal.h"
#include "agent/spawn.h"
#include "agent/terminal.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

static const struct spool_limits standard_limits = {
    .memory = 32 << 20,
    .disk = 256 << 20,
    .process_memory = 1 << 20,
    .process = 64 << 20,
    .history = 256 << 10,
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
    return &table->buckets[(uint32_t)pid % PROCESS_BUCKETS];
}

void process_enter(struct process *p)
{
    struct process_table *table = p->table;
    p->hash_next = *bucket(table, p->pid);
    *bucket(table, p->pid) = p;
    list_add(p->ended ? &table->finished : &table->live, p);
}

/* ---- end of life ---- */

void process_free_if_unused(struct process *p)
{
    if (!p->forgotten || p->readers || p->handles)
        return;
    process_config_done(&p->config);
    free(p);
}

void process_handle_closed(uv_handle_t *handle)
{
    struct process *p = handle->data;
    p->handles--;
    process_free_if_unused(p);
}

static void take_out(struct process *p)
{
    struct process **at = bucket(p->table, p->pid);
    while (*at != p)
        at = &(*at)->hash_next;
    *at = p->hash_next;
    process_uncount_config(p);
    list_remove(p->ended ? &p->table->finished : &p->table->live, p);
    p->forgotten = true;
    spool_done(&p->spool);
}

/* Takes it out of the table and of the arena; nobody reads it. */
static void forget(struct process *p)
{
    struct process_table *table = p->table;
    take_out(p);
    process_record_free(table->arena, p->slot);
    fd_closep(&p->pidfd);
    process_free_if_unused(p);
}

bool process_count_config(struct process *p, const struct process_config *config)
{
    struct process_table *table = p->table;
    size_t size = process_config_size(config);
    for (struct process *old = table->finished.first, *next; old; old = next) {
        next = old->next;
        if (size <= PROCESS_CONFIGS_MAX - table->config_bytes)
            break;
        if (!old->readers)
            forget(old);
    }
    if (size > PROCESS_CONFIGS_MAX - table->config_bytes)
        return false;
    p->config_size = size;
    table->config_bytes += size;
    return true;
}

void process_uncount_config(struct process *p)
{
    p->table->config_bytes -= p->config_size;
    p->config_size = 0;
}

static void close_handles(struct process *p)
{
    process_input_fail(p, -EPIPE);
    process_channel_close(&p->out);
    process_channel_close(&p->err);
    uv_close((uv_handle_t *)&p->deadline, process_handle_closed);
    uv_close((uv_handle_t *)&p->flush, process_handle_closed);
    uv_close((uv_handle_t *)&p->hold, process_handle_closed);
}

/* Forgets what has been remembered long enough, oldest first. Who is still read is given another
 * round. */
static void expiry_due(uv_timer_t *timer)
{
    struct process_table *table = timer->data;
    uint64_t now = uv_now(table->loop), keep = table->keep_ms;
    for (size_t left = table->finished.count; left; left--) {
        struct process *p = table->finished.first;
        if (p->record->ended_at + keep > now && table->finished.count <= PROCESS_FINISHED_MAX)
            break;
        if (p->readers) {
            list_remove(&table->finished, p);
            list_add(&table->finished, p);
            p->record->ended_at = now;
        } else {
            forget(p);
        }
    }
    if (table->finished.first) {
        uv_timer_start(timer, expiry_due, table->finished.first->record->ended_at + keep - now, 0);
    } else if (!table->live.first) {
        /* All is quiet: what a busy time has taken goes back, idle sandboxes are to be small. */
        spool_pool_trim(&table->pool);
        malloc_trim(0);
    }
}

void process_expiry_start(struct process_table *table)
{
    if (!uv_is_active((uv_handle_t *)&table->expiry) ||
        table->finished.count > PROCESS_FINISHED_MAX)
        expiry_due(&table->expiry);
}

enum { TO_GROUP = 4 }; /* PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9 */

static bool in_group(const struct process *p)
{
    return p->pidfd >= 0 && syscall(SYS_pidfd_send_signal, p->pidfd, 0, NULL, TO_GROUP) == 0;
}

/* By pidfd: it cannot hit another process that got the number meanwhile. */
static int send_signal(struct process *p, int signal_number, bool group)
{
    if (p->pidfd < 0 || (p->reaped && !group))
        return 0;
    int rc =
        (int)syscall(SYS_pidfd_send_signal, p->pidfd, signal_number, NULL, group ? TO_GROUP : 0);
    /* Without it the number may only be used while it is certain whose it is. */
    if (rc < 0 && errno == EINVAL && group && !p->reaped)
        rc = kill(-p->pid, signal_number);
    return rc < 0 && errno != ESRCH && !(group && p->reaped) ? -errno : 0;
}

static void end(struct process *p)
{
    struct process_table *table = p->table;
    process_output_flush(p);
    close_handles(p);
    if (!in_group(p)) /* nobody is left to be named by it */
        fd_closep(&p->pidfd);
    keep_drop(table->keep, p->slot, (1U << KEEP_PLACES) - 1);
    p->record->ended_at = uv_now(table->loop);
    ARENA_STEP();
    p->record->state = PROCESS_ENDED;
    p->ended = true;
    list_remove(&table->live, p);
    list_add(&table->finished, p);
    process_wake_readers(p);
    process_expiry_start(table);
}

void process_settle(struct process *p)
{
    if (!p->reaped || p->ended)
        return;
    if (p->record->forsaken) {
        process_output_drain(&p->out);
        process_output_drain(&p->err);
    }
    if (p->out.fd < 0 && p->err.fd < 0)
        end(p);
}

static void stop_watching(struct process *p)
{
    if (p->pid_watched)
        uv_close((uv_handle_t *)&p->pid_poll, process_handle_closed);
    p->pid_watched = false;
}

/* Whether it was the kernel that killed it, or a child of it that it reports the end of as shells
 * do, because memory ran out. */
static void find_cause(struct process *p)
{
    enum { KILLED_CHILD = 128 + SIGKILL };
    const struct arena_life *life = p->life;
    bool killed = life->code == CLD_KILLED && life->status == SIGKILL && !p->record->forsaken &&
                  !p->record->timed_out;
    bool reports = life->code == CLD_EXITED && life->status == KILLED_CHILD;
    int64_t now = clock_mono_ns();
    if (killed || reports)
        p->record->out_of_memory = oom_kills_claim(&p->table->oom_kills, now);
    else
        oom_kills_look(&p->table->oom_kills, now);
}

void process_reaped(struct process *p)
{
    p->reaped = true;
    find_cause(p);
    stop_watching(p);
    process_settle(p);
}

/* Writes down how a child of ours has ended before the number is free for another process. False:
 * not yet. */
static bool reap(struct process *p)
{
    siginfo_t info = {0};
    int rc = waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG | WNOWAIT);
    if (rc == 0 && info.si_pid == 0)
        return false;
    if (rc < 0 && errno != ECHILD)
        return false;
    if (rc < 0) { /* somebody else has reaped it: how it ended is not known */
        info.si_code = CLD_KILLED;
        info.si_status = SIGKILL;
    }
    p->life->code = info.si_code;
    p->life->status = info.si_status;
    ARENA_STEP();
    p->life->ended = 1;
    ARENA_STEP();
    waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG);
    return true;
}

static void pid_ready(uv_poll_t *poll, int status, int events)
{
    struct process *p = poll->data;
    if (p->adopted ? !p->life->ended : !reap(p)) {
        if (p->adopted) /* init is about to reap it, and will tell */
            uv_poll_stop(poll);
        return;
    }
    process_reaped(p);
}

static void news_ready(uv_poll_t *poll, int status, int events)
{
    struct process_table *table = poll->data;
    keep_news_taken(table->keep);
    for (struct process *p = table->live.first, *next; p; p = next) {
        next = p->next;
        if (p->adopted && !p->reaped && __atomic_load_n(&p->life->ended, __ATOMIC_ACQUIRE))
            process_reaped(p);
    }
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

static void tell_error(const struct process *p, struct process_end *end)
{
    char reason[96] = "";
    unsigned long long mib = p->table->memory_bytes >> 20;
    if (mib)
        snprintf(reason, sizeof reason, "killed by the sandbox's limit of %llu MiB", mib);
    else
        snprintf(reason, sizeof reason, "killed for lack of memory on the host");
    if (!p->record->out_of_memory)
        snprintf(end->error, sizeof end->error, "%s", end->exit_code ? end->status : "");
    else if (end->exited)
        snprintf(end->error, sizeof end->error, "%s (out of memory: a process was %.60s)",
                 "exit status 137", reason);
    else
        snprintf(end->error, sizeof end->error, "out of memory: %s", reason);
}

bool process_ended(const struct process *p, struct process_end *ret)
{
    if (!p->ended)
        return false;
    int code = p->life->code, status = p->life->status;
    ret->exited = code == CLD_EXITED;
    ret->exit_code = ret->exited ? status : -1;
    const char *text = signal_text(status);
    const char *dumped = code == CLD_DUMPED ? " (core dumped)" : "";
    if (ret->exited)
        snprintf(ret->status, sizeof ret->status, "exit status %d", status);
    else if (text)
        snprintf(ret->status, sizeof ret->status, "signal: %s%s", text, dumped);
    else
        snprintf(ret->status, sizeof ret->status, "signal: signal %d%s", status, dumped);
    tell_error(p, ret);
    return true;
}

bool process_timed_out(const struct process *p)
{
    return p->record->timed_out;
}

/* ---- start ---- */

void process_open_handles(struct process *p, int pidfd, int in, int out, int err)
{
    uv_loop_t *loop = p->table->loop;
    uv_timer_init(loop, &p->deadline);
    uv_timer_init(loop, &p->flush);
    uv_timer_init(loop, &p->hold);
    p->deadline.data = p->flush.data = p->hold.data = p;
    p->handles = 3;
    p->pidfd = pidfd;
    p->reaped = p->life->ended;
    p->pid_watched = !p->reaped && pidfd >= 0;
    /* These fail only for descriptors that cannot be polled; pipes, terminals, pidfds can. */
    int rc = 0;
    if (p->pid_watched) {
        rc = uv_poll_init(loop, &p->pid_poll, p->pidfd);
        p->pid_poll.data = p;
        p->handles++;
    }
    rc |= process_channel_open(p, &p->in, in, SPOOL_STDOUT);
    rc |= process_channel_open(p, &p->out, out, p->pty ? SPOOL_PTY : SPOOL_STDOUT);
    rc |= process_channel_open(p, &p->err, err, SPOOL_STDERR);
    if (rc < 0)
        abort();
    if (p->pid_watched)
        uv_poll_start(&p->pid_poll, UV_READABLE, pid_ready);
    process_output_watch(p);
}

static void deadline_due(uv_timer_t *timer)
{
    struct process *p = timer->data;
    p->record->timed_out = true;
    process_signal(p, SIGKILL, false, NULL);
    process_wake_readers(p);
}

void process_arm_deadline(struct process *p)
{
    if (p->ended || !p->record->deadline || p->record->timed_out)
        return;
    int64_t left = p->record->deadline - clock_mono_ns();
    uv_update_time(p->table->loop);
    uv_timer_start(&p->deadline, deadline_due,
                   left > 0 ? (uint64_t)((left + CLOCK_MS - 1) / CLOCK_MS) : 0, 0);
}

void process_set_deadline(struct process *p, int64_t ns)
{
    p->record->deadline = clock_mono_ns() + ns;
    process_arm_deadline(p);
}

/* ---- table ---- */

/* The spool file outlives us too. */
static void disk_made(int fd, void *arg)
{
    struct process_table *table = arg;
    const int fds[KEEP_PLACES] = {fd, -1, -1};
    keep_hold(table->keep, KEEP_DISK, fds);
}

static void watch_news(struct process_table *table)
{
    int fd = keep_news(table->keep);
    table->handles = 1;
    if (fd < 0 || uv_poll_init(table->loop, &table->news, fd) < 0)
        return;
    table->handles++;
    table->has_news = true;
    table->news.data = table;
    uv_poll_start(&table->news, UV_READABLE, news_ready);
    uv_unref((uv_handle_t *)&table->news);
}

struct process_table *process_table_new(uv_loop_t *loop, struct keep *keep, const char *spool_dir,
                                        int memory_fd, int oom_fd)
{
    struct process_table *table = xcalloc(1, sizeof *table);
    table->loop = loop;
    table->keep = keep;
    table->arena = keep_arena(keep);
    table->keep_ms = PROCESS_FINISHED_S * UINT64_C(1000);
    table->hold_ms = PROCESS_HOLD_S * UINT64_C(1000);
    spool_pool_init(&table->pool, table->arena, &standard_limits);
    if (spool_dir)
        table->pool.directory = spool_dir;
    table->pool.made = disk_made;
    table->pool.made_arg = table;
    uv_timer_init(loop, &table->expiry);
    table->expiry.data = table;
    table->pace_fd = -1;
    spawn_setup();
    table->lanes = lanes_new(loop);
    oom_kills_init(&table->oom_kills, oom_fd);
    table->memory_fd = memory_fd;
    watch_news(table);
    process_table_recover(table);
    return table;
}

void process_table_configure(struct process_table *table, const struct agent_config *config)
{
    struct spool_limits limits = standard_limits;
    if (config->spool_memory_bytes)
        limits.memory = config->spool_memory_bytes;
    if (config->spool_disk_bytes)
        limits.disk = config->spool_disk_bytes;
    if (config->spool_process_bytes)
        limits.process = config->spool_process_bytes;
    table->pool.limits = limits;
    table->hold_ms = (config->hold_given ? config->hold_s : PROCESS_HOLD_S) * UINT64_C(1000);
    table->memory_bytes = config->memory_bytes;
    spawn_set_limit(config->pids);
    if (config->finished_s)
        table->keep_ms = config->finished_s * UINT64_C(1000);
}

static void table_handle_closed(uv_handle_t *handle)
{
    struct process_table *table = handle->data;
    if (--table->handles == 0)
        free(table);
}

static void table_drop(struct process *p)
{
    while (p->readers)
        process_detach(p->readers);
    forget(p);
}

void process_table_free(struct process_table *table)
{
    if (!table)
        return;
    lanes_free(table->lanes);
    for (struct process *p; (p = table->live.first);) {
        stop_watching(p);
        close_handles(p);
        table_drop(p);
    }
    while (table->finished.first)
        table_drop(table->finished.first);
    spool_pool_done(&table->pool);
    uv_close((uv_handle_t *)&table->expiry, table_handle_closed);
    if (table->has_news)
        uv_close((uv_handle_t *)&table->news, table_handle_closed);
    if (table->pace_fd >= 0)
        uv_close((uv_handle_t *)&table->pace, table_handle_closed);
    fd_closep(&table->pace_fd);
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

int process_signal(struct process *p, int signal_number, bool group, struct err *err)
{
    int rc = send_signal(p, signal_number, group);
    if (rc < 0)
        return err_set(err, ERR_INTERNAL, -rc, "signal process %d", (int)p->pid);
    bool deadly = signal_number == SIGKILL || signal_number == SIGTERM;
    if (!p->ended && deadly) {
        p->record->forsaken = true;
        process_settle(p);
    }
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
