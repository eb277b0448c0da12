/* SPDX-License-Identifier: Apache-2.0 */
/* The guard: looks once a second, as long as there are sandboxes, whether the host's disk gets full.
 *
 * Below the reserve no sandbox is made any more, below half of it the one that has written most is
 * ended, one at a time: an image that cannot grow is a broken disk to all who are in it. Where no
 * limit binds, who is found beyond his own is ended too. Those that only sit there are left alone. */
#include <errno.h>
#include <fcntl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/host-internal.h"

#define MIB (UINT64_C(1) << 20)

enum {
    PERIOD_S = 1,
    TRIM_S = 60,        /* between two trims */
    TRIM_TIGHT_S = 5,   /* when room is short */
    WORTH_MIB = 1024,   /* a trim */
    WORTH_TIGHT_MIB = 64,
    WATCH_AFTER = 180,  /* times, after the last sandbox: what it wrote may reach the image late */
    GUILTY_MIB = 64,    /* who has written less is not why the disk is full */
};

struct trim {
    struct worker_job job;
    struct box_host *host;
};

static void trim_run(struct worker_job *job)
{
    disk_trim(CONTAINER_OF(job, struct trim, job)->host->disk);
}

static void trim_done(struct worker_job *job)
{
    struct trim *t = CONTAINER_OF(job, struct trim, job);
    t->host->trimming = false;
    t->host->trimmed_ns = clock_mono_ns();
    free(t);
}

/* True while it is under way, or was not yet tried since the last removal. */
static bool trim(struct box_host *host, bool tight)
{
    int64_t pause = (tight ? TRIM_TIGHT_S : TRIM_S) * CLOCK_S;
    if (host->trimming)
        return true;
    if (disk_slack(host->disk) < (tight ? WORTH_TIGHT_MIB : WORTH_MIB) * MIB)
        return false;
    if (host->trimmed_ns && clock_mono_ns() - host->trimmed_ns < pause)
        return false;
    struct trim *t = xcalloc(1, sizeof *t);
    t->job = (struct worker_job){trim_run, trim_done, NULL};
    t->host = host;
    host->trimming = true;
    worker_add(host->worker, &t->job);
    return true;
}

static void end(struct box_host *host, struct box *box, const char *why)
{
    snprintf(box->reason, sizeof box->reason, "%s: %llu MiB written, the limit is %llu", why,
             (unsigned long long)(box->disk_bytes / MIB),
             (unsigned long long)(box->record.limits.disk_bytes / MIB));
    box_end(host, box);
}

static void end_largest(struct box_host *host)
{
    struct box *largest = NULL;
    for (struct box *box = host->boxes; box; box = box->next)
        if (box->state == BOX_RUNNING && (!largest || box->disk_bytes > largest->disk_bytes))
            largest = box;
    if (largest && largest->disk_bytes >= GUILTY_MIB * MIB)
        end(host, largest, "the host's disk is full");
}

static void look(struct box_host *host)
{
    struct disk_room room;
    if (disk_room(host->disk, &room) < 0)
        return;
    uint64_t reserve = disk_reserve(&room);
    bool binds = disk_binds(host->disk, NULL), ending = host->removing > 0;
    host->disk_tight = room.free < reserve;
    for (struct box *box = host->boxes; box; box = box->next) {
        if (box->state == BOX_ENDING)
            ending = true;
        if (box->state != BOX_RUNNING)
            continue;
        if (!binds || host->disk_tight)
            box_measure(host, box);
        uint64_t limit = box->record.limits.disk_bytes;
        if (!binds && limit && box->disk_bytes > limit)
            end(host, box, "more than its disk limit");
    }
    bool trimming = trim(host, host->disk_tight);
    if (room.free < reserve / 2 && !trimming && !ending)
        end_largest(host);
}

static void set_timer(const struct box_host *host, bool on)
{
    const struct itimerspec every = {.it_interval = {on ? PERIOD_S : 0, 0},
                                     .it_value = {on ? PERIOD_S : 0, 0}};
    timerfd_settime(host->guard_fd, 0, &every, NULL);
}

int guard_open(struct box_host *host, struct err *err)
{
    host->guard_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (host->guard_fd < 0)
        return err_os(err, errno, "make the disk guard's timer");
    host->guard_watch = (struct watch){WATCH_GUARD, NULL};
    set_timer(host, true);
    return host_watch(host, host->guard_fd, &host->guard_watch, err);
}

void guard_wake(struct box_host *host)
{
    if (host->guard_fd >= 0 && !host->boxes->next)
        set_timer(host, true);
}

void guard_step(struct box_host *host)
{
    uint64_t count;
    if (read(host->guard_fd, &count, sizeof count) < 0)
        return;
    if (disk_guarded(host->disk))
        look(host);
    host->guard_alone = host->boxes ? 0 : host->guard_alone + 1;
    if (host->guard_alone > WATCH_AFTER)
        set_timer(host, false);
}

int guard_admit(struct box_host *host, struct err *err)
{
    struct disk_room room;
    /* Anew when room was short: the timer may be asleep. */
    if (host->disk_tight && disk_room(host->disk, &room) == 0)
        host->disk_tight = room.free < disk_reserve(&room);
    if (!host->disk_tight)
        return 0;
    return err_set(err, ERR_UNAVAILABLE, 0,
                   "the disk of the host is full: less than the reserve is free");
}
