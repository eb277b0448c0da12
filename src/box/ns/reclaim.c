/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of paused sandboxes: where the host has swap, it is pushed out at once instead of when
 * others need the room, a piece at a time, and no further once the sandbox goes on. */
#include <stdio.h>
#include <sys/sysinfo.h>

#include "base/mem.h"
#include "box/ns/host-internal.h"

struct reclaim {
    struct worker_job job;
    struct box_host *host;
    struct box *box; /* NULL: it goes on, or is gone */
    char id[BOX_ID_MAX + 1];
    atomic_bool stop;
};

static bool host_has_swap(void)
{
    struct sysinfo info;
    return sysinfo(&info) == 0 && info.freeswap > 0;
}

static void reclaim_run(struct worker_job *job)
{
    struct reclaim *r = CONTAINER_OF(job, struct reclaim, job);
    cgroup_reclaim(r->host->cgroups, r->id, &r->stop);
}

static void reclaim_done(struct worker_job *job)
{
    struct reclaim *r = CONTAINER_OF(job, struct reclaim, job);
    if (r->box)
        r->box->reclaim = NULL;
    free(r);
}

static bool need_worker(struct box_host *host)
{
    if (host->reclaimer)
        return true;
    host->reclaimer = worker_new();
    if (!host->reclaimer)
        return false;
    worker_set_idle(host->reclaimer, true);
    host->reclaimer_watch = (struct watch){WATCH_RECLAIMER, NULL};
    return host_watch(host, worker_fd(host->reclaimer), &host->reclaimer_watch, NULL) == 0;
}

void reclaim_begin(struct box_host *host, struct box *box)
{
    if (box->reclaim || !host_has_swap() || !need_worker(host))
        return;
    struct reclaim *r = xcalloc(1, sizeof *r);
    r->job = (struct worker_job){reclaim_run, reclaim_done, NULL};
    r->host = host;
    r->box = box;
    snprintf(r->id, sizeof r->id, "%s", box->id);
    box->reclaim = r;
    worker_add(host->reclaimer, &r->job);
}

void reclaim_end(struct box *box)
{
    if (!box->reclaim)
        return;
    box->reclaim->stop = true;
    box->reclaim->box = NULL;
    box->reclaim = NULL;
}

void reclaim_close(struct box_host *host)
{
    for (struct box *box = host->boxes; box; box = box->next)
        reclaim_end(box);
    worker_free(host->reclaimer);
    host->reclaimer = NULL;
}
