/* SPDX-License-Identifier: Apache-2.0 */
/* Parking: a sandbox of which only the files are left, to be started from them again. A mark in its
 * directory says so, from before its processes are ended until they run again, so that whoever finds
 * the directory in between knows that the files are to be kept. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "box/ns/host-internal.h"

#define MARK "parked"

static void mark_path(const char *id, char ret[BOX_ID_MAX + 16])
{
    snprintf(ret, BOX_ID_MAX + 16, "%s/" MARK, id);
}

bool park_marked(const struct box_host *host, const char *id)
{
    char path[BOX_ID_MAX + 16];
    mark_path(id, path);
    return faccessat(host->sandboxes_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void park_unmark(struct box_host *host, const char *id)
{
    char path[BOX_ID_MAX + 16];
    mark_path(id, path);
    unlinkat(host->sandboxes_fd, path, 0);
}

void park_begin(struct box_host *host, struct box *box)
{
    snapshot_forget(box);
    reclaim_end(box);
    box->parking = true;
    box->asked = true;
    box->state = BOX_ENDING;
    syscall(SYS_pidfd_send_signal, box->pidfd, SIGKILL, NULL, 0);
    if (cgroup_frozen(host->cgroups, box->id)) /* v1 delivers no signal to the frozen */
        cgroup_freeze(host->cgroups, box->id, false);
}

int box_park(struct box_host *host, struct box *box, struct err *err)
{
    char path[BOX_ID_MAX + 16];
    if (box->state != BOX_RUNNING)
        return err_set(err, ERR_PRECONDITION, 0, "sandbox %s does not run", box->id);
    mark_path(box->id, path);
    int rc = fd_replace_file(host->sandboxes_fd, path, "", 0, 0600);
    if (rc < 0)
        return err_os(err, -rc, "mark sandbox %s as parked", box->id);
    park_begin(host, box);
    return 0;
}

bool box_parking(const struct box *box)
{
    return box->parking || box->state == BOX_PARKED;
}

bool box_parked(const struct box *box)
{
    return box->state == BOX_PARKED;
}

void park_done(struct box_host *host, struct box *box, const struct err *err)
{
    if (!box->parking) { /* destroyed meanwhile */
        host_retire(host, box);
        return;
    }
    box->parking = false;
    box->state = BOX_PARKED;
    box->frozen = false;
    box->pid = 0;
    host->events.parked(host->events.arg, box->id, err);
}
