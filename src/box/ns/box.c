/* SPDX-License-Identifier: Apache-2.0 */
/* What can be done with one sandbox once it exists: find, destroy, freeze, measure. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/host-internal.h"
#include "box/remove.h"

struct box *box_host_find(struct box_host *host, const char *id)
{
    struct box *box = host->boxes;
    while (box && (box->state == BOX_REMOVING || strcmp(box->id, id) != 0))
        box = box->next;
    return box;
}

bool box_host_is_removing(struct box_host *host, const char *id)
{
    struct box *box = host->boxes;
    while (box && strcmp(box->id, id) != 0)
        box = box->next;
    return box && (box->state == BOX_REMOVING || box->state == BOX_PARKING ||
                   (box->state == BOX_ENDING && box->parking));
}

void box_host_each(struct box_host *host, void (*each)(void *arg, struct box *box), void *arg)
{
    for (struct box *box = host->boxes, *next; box; box = next) {
        next = box->next;
        if (box->state == BOX_RUNNING)
            each(arg, box);
    }
}

void box_host_each_parked(struct box_host *host, void (*each)(void *arg, struct box *box), void *arg)
{
    for (struct box *box = host->boxes, *next; box; box = next) {
        next = box->next;
        if (box->state == BOX_PARKED || box->state == BOX_PARKING ||
            (box->state == BOX_ENDING && box->parking && box->ran))
            each(arg, box);
    }
}

void box_destroy(struct box_host *host, struct box *box)
{
    box->asked = true;
    box->parking = false;
    box_end(host, box);
}

void box_end(struct box_host *host, struct box *box)
{
    bool parked = box->state == BOX_PARKED;
    if (box->state == BOX_REMOVING)
        return;
    if (parked || box->state == BOX_PARKING) { /* dead already */
        if (parked)
            host_retire(host, box);
        host->events.ended(host->events.arg, box, true);
        return;
    }
    snapshot_forget(box);
    box->state = BOX_ENDING;
    if (box->pidfd < 0)
        return; /* as soon as the zygote has answered */
    syscall(SYS_pidfd_send_signal, box->pidfd, SIGKILL, NULL, 0);
    /* v1 delivers no signal to the frozen. */
    if (cgroup_frozen(host->cgroups, box->id))
        cgroup_freeze(host->cgroups, box->id, false);
}

/* Where the agent is not in the group that is frozen, init stops it (agent/init.c). */
static void tell_init(const struct box_host *host, const struct box *box, int sig)
{
    if (!cgroup_freezes_agent(host->cgroups))
        syscall(SYS_pidfd_send_signal, box->pidfd, sig, NULL, 0);
}

int host_stop_box(struct box_host *host, struct box *box, bool stop, struct err *err)
{
    if (stop)
        tell_init(host, box, SIGUSR1);
    int rc = cgroup_freeze(host->cgroups, box->id, stop);
    if (rc < 0 || !stop)
        tell_init(host, box, SIGUSR2);
    if (rc < 0)
        return err_os(err, -rc, "%s sandbox %s", stop ? "freeze" : "thaw", box->id);
    return 0;
}

int box_freeze(struct box_host *host, struct box *box, bool freeze, struct err *err)
{
    if (box->state != BOX_RUNNING)
        return err_set(err, ERR_PRECONDITION, 0, "sandbox %s does not run", box->id);
    /* One that is being copied stands still, and does what it is told now when that is over. */
    int rc = box->copying ? 0 : host_stop_box(host, box, freeze, err);
    if (rc < 0)
        return rc;
    box->frozen = freeze;
    if (freeze)
        reclaim_begin(host, box);
    else
        reclaim_end(box);
    return 0;
}

struct measurement {
    struct worker_job job;
    struct box_host *host;
    char id[BOX_ID_MAX + 1];
    uint64_t bytes;
};

static void measurement_run(struct worker_job *job)
{
    struct measurement *m = CONTAINER_OF(job, struct measurement, job);
    char path[BOX_ID_MAX + 16];
    snprintf(path, sizeof path, "%s/upper", m->id);
    remove_measure(m->host->files_fd, path, &m->bytes);
}

static void measurement_done(struct worker_job *job)
{
    struct measurement *m = CONTAINER_OF(job, struct measurement, job);
    struct box *box = box_host_find(m->host, m->id);
    if (box) {
        box->disk_bytes = m->bytes;
        box->measured_ns = clock_mono_ns();
        box->measuring = false;
    }
    free(m);
}

/* What the file system knows, or the result of counting now and then. */
void box_measure(struct box_host *host, struct box *box)
{
    _cleanup_close_ int dir =
        openat(host->files_fd, box->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir >= 0 && disk_used(host->disk, dir, &box->disk_bytes) == 0)
        return;
    enum { AGAIN_S = 5 };
    if (box->measuring ||
        (box->measured_ns && clock_mono_ns() - box->measured_ns < AGAIN_S * CLOCK_S))
        return;
    struct measurement *m = xcalloc(1, sizeof *m);
    m->job = (struct worker_job){measurement_run, measurement_done, NULL};
    m->host = host;
    snprintf(m->id, sizeof m->id, "%s", box->id);
    box->measuring = true;
    worker_add(host->worker, &m->job);
}

int box_usage(struct box_host *host, struct box *box, struct box_usage *ret, struct err *err)
{
    struct cgroup_usage usage;
    int rc = cgroup_read_usage(host->cgroups, box->id, &usage);
    if (rc < 0)
        return err_os(err, -rc, "usage of sandbox %s", box->id);
    box_measure(host, box);
    *ret = (struct box_usage){.cpu_ns = usage.cpu_ns,
                              .memory_bytes = usage.memory_bytes,
                              .cache_bytes = usage.cache_bytes,
                              .disk_bytes =
                                  box->disk_bytes +
                                  layers_bytes(&host->snapshots, box->record.base),
                              .pids = usage.pids,
                              .oom_kills = usage.oom_kills};
    return 0;
}

const char *box_end_reason(const struct box *box)
{
    return box->reason;
}

const char *box_id(const struct box *box)
{
    return box->id;
}

const char *box_template(const struct box *box)
{
    return box->record.template_name;
}

pid_t box_pid(const struct box *box)
{
    return box->pid;
}

bool box_running(const struct box *box)
{
    return box->state == BOX_RUNNING;
}

bool box_frozen(const struct box *box)
{
    return box->frozen;
}

void *box_owner(const struct box *box)
{
    return box->owner;
}
