/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a process: what is written down of it, and the wait for it to become its program. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/env.h"
#include "agent/keep.h"
#include "agent/lanes.h"
#include "agent/process-internal.h"
#include "agent/spawn.h"
#include "base/clock.h"
#include "base/mem.h"

/* One start under way. */
struct process_launch {
    struct lane_job job;
    struct process *p;
    struct spawn *spawn;
    struct spawn_request request;
    struct passwd_user user; /* a copy, without what a start does not need */
    char **envs;
    char *cwd;
    process_started_fn *started;
    void *arg;
};

/* Before there is a child: init has the descriptors, and what is written down of it so far counts. */
static void opened(const struct spawned *s, void *arg)
{
    struct process *p = arg;
    /* A terminal has one descriptor for both directions. */
    const int fds[KEEP_PLACES] = {p->pty ? -1 : s->in, s->out, s->err};
    keep_hold(p->table->keep, p->slot, fds);
    ARENA_STEP();
    p->record->state = PROCESS_STARTING;
}

static int write_down(struct process_launch *l, const struct process_start_request *request,
                      struct err *err)
{
    struct process *p = l->p;
    struct process_table *table = p->table;
    p->slot = arena_slot_take(table->arena);
    if (p->slot == ARENA_NONE)
        return err_set(err, ERR_EXHAUSTED, 0, "too many processes are remembered");
    p->life = arena_life(table->arena, p->slot);
    p->record = arena_record(table->arena, p->slot);
    memset(p->record, 0, offsetof(struct process_record, text));
    *p->life = (struct arena_life){0};
    p->record->pty = p->pty = request->pty;
    p->record->keep = request->keep;
    p->record->order = table->order++;
    l->request.pid_at = &p->life->pid;
    int rc = process_record_save(table->arena, p->slot, &request->config);
    if (rc == -E2BIG)
        return err_set(err, ERR_INVALID, 0, "arguments and environment are too long");
    return rc < 0 ? err_set(err, ERR_EXHAUSTED, 0, "out of memory for processes") : 0;
}

static void launch_free(struct process_launch *l)
{
    free(l->user.name);
    free(l->user.groups);
    env_free(l->envs);
    free(l->cwd);
    free(l);
}

static void failed(struct process_launch *l, const struct err *err)
{
    struct process *p = l->p;
    if (p->record) {
        if (p->record->state)
            keep_drop(p->table->keep, p->slot, (1U << KEEP_PLACES) - 1);
        process_record_free(p->table->arena, p->slot);
    }
    process_uncount_config(p);
    process_config_done(&p->config);
    free(p);
    l->started(NULL, err, l->arg);
    launch_free(l);
}

static void started(struct process_launch *l, const struct spawned *s)
{
    struct process *p = l->p;
    p->record->state = PROCESS_LIVE;
    p->pid = s->pid;
    spool_init(&p->spool, &p->table->pool, p->slot, &p->record->end);
    p->spool.keep = p->record->keep;
    process_enter(p);
    process_open_handles(p, s->pidfd, s->in, s->out, s->err);
    if (s->exec_errno) {
        char text[320];
        spawn_exec_text(s->exec_errno, p->config.argv[0], text, sizeof text);
        spool_append(&p->spool, p->pty ? SPOOL_PTY : SPOOL_STDERR, text, strlen(text));
    }
    l->started(p, NULL, l->arg);
    launch_free(l);
}

static void launch_run(struct lane_job *job)
{
    spawn_run(CONTAINER_OF(job, struct process_launch, job)->spawn);
}

static void launch_done(struct lane_job *job)
{
    struct process_launch *l = CONTAINER_OF(job, struct process_launch, job);
    struct spawned s;
    struct err err;
    l->p->table->starting--;
    if (spawn_finish(l->spawn, &s, &err) < 0)
        failed(l, &err);
    else
        started(l, &s);
}

static void copy_user(const struct passwd_user *from, struct passwd_user *to)
{
    *to = (struct passwd_user){.name = xstrdup(from->name),
                               .uid = from->uid,
                               .gid = from->gid,
                               .groups = xmalloc((from->group_count + 1) * sizeof *to->groups),
                               .group_count = from->group_count};
    memcpy(to->groups, from->groups, from->group_count * sizeof *to->groups);
}

static int launch_begin(struct process_launch *l, const struct process_start_request *request,
                        struct err *err)
{
    struct process_table *table = l->p->table;
    if (table->live.count + table->starting >= PROCESS_LIVE_MAX)
        return err_set(err, ERR_EXHAUSTED, 0, "%d processes run already", PROCESS_LIVE_MAX);
    if (!process_count_config(l->p, &request->config))
        return err_set(err, ERR_EXHAUSTED, 0,
                       "arguments and environments of all processes are larger than %d bytes",
                       PROCESS_CONFIGS_MAX);
    int rc = write_down(l, request, err);
    return rc < 0 ? rc : spawn_begin(&l->request, &l->spawn, err);
}

/* Whether the kernel has just killed for memory and there is still none: then what is started would
 * be held up by that, or be the next to be killed. */
static bool is_crowded(struct process_table *table)
{
    enum { FREE_PART = 8 };
    int64_t now = clock_mono_ns();
    char text[24];
    uint64_t used;
    oom_kills_look(&table->oom_kills, now);
    if (!table->memory_bytes || !oom_kills_recent(&table->oom_kills, now))
        return false;
    ssize_t n = pread(table->memory_fd, text, sizeof text, 0);
    struct str rest = {text, n > 0 ? (size_t)n : 0}, line = STR("");
    str_split(&rest, '\n', &line);
    return str_to_u64(line, UINT64_MAX, &used) == 0 &&
           used >= table->memory_bytes - table->memory_bytes / FREE_PART;
}

void process_start(struct process_table *table, struct process_start_request *request,
                   const struct passwd_user *user, char **envs, char *cwd,
                   process_started_fn *started_fn, void *arg)
{
    struct process_launch *l = xcalloc(1, sizeof *l);
    struct process *p = l->p = xcalloc(1, sizeof *p);
    struct err err;
    p->table = table;
    p->queue_tail = &p->queue;
    p->pidfd = -1;
    l->job = (struct lane_job){.run = launch_run, .done = launch_done};
    copy_user(user, &l->user);
    l->envs = envs;
    l->cwd = cwd;
    l->started = started_fn;
    l->arg = arg;
    l->request = (struct spawn_request){
        .argv = request->config.argv,
        .envp = envs,
        .cwd = cwd,
        .user = &l->user,
        .stdin_open = request->stdin_open,
        .pty = request->pty,
        .cols = request->size.cols,
        .rows = request->size.rows,
        .opened = opened,
        .arg = p,
    };
    int rc = launch_begin(l, request, &err);
    p->config = request->config;
    request->config = (struct process_config){0};
    if (rc < 0) {
        failed(l, &err);
        return;
    }
    table->starting++;
    l->request.crowded = is_crowded(table);
    if (table->busy) {
        lanes_add(table->lanes, &l->job);
        return;
    }
    /* Nothing runs yet that could be in the way of the first, and it need not wait for a thread. */
    table->busy = true;
    launch_run(&l->job);
    launch_done(&l->job);
}
