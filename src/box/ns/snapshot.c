/* SPDX-License-Identifier: Apache-2.0 */
/* Making and removing snapshots. The sandbox is stopped, its upper layer copied in a thread, the
 * sandbox continued, then the copy is put safely on disk and gets its name. A mark in the sandbox's
 * directory says that it stands still for us only, should we die meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/copy.h"
#include "box/ns/host-internal.h"
#include "box/remove.h"

#define MARK "copying"

struct copying {
    struct worker_job job;
    LIST_ENTRY(copying) link;
    struct box_host *host;
    struct box *box; /* NULL: it is gone, or goes on already */
    void *owner;
    char id[BOX_ID_MAX + 1];
    struct layers_info info;
    struct box_chain chain; /* below it */
    int source;             /* what is copied: the sandbox's own layer */
    int target;             /* the new snapshot's directory */
    atomic_bool stop;
    struct err err;
};

static void mark_path(const char *id, char ret[BOX_ID_MAX + 16])
{
    snprintf(ret, BOX_ID_MAX + 16, "%s/" MARK, id);
}

/* ---- in the thread ---- */

#define OWN "own" /* beside "upper", until it is merged into that */

static void copy_run(struct worker_job *job)
{
    struct copying *c = CONTAINER_OF(job, struct copying, job);
    struct copy_result result;
    if (copy_tree(c->source, c->target, c->info.whole ? OWN : "upper", &c->stop, &result,
                  &c->err) == 0)
        c->info.bytes = result.bytes;
}

/* The layers as one string for overlay's lowerdir, the uppermost first; descriptors to be closed. */
static int open_layers(struct copying *c, int fds[BOX_LAYERS_MAX + 3], char *lower, size_t size)
{
    struct box_host *host = c->host;
    struct box_plan plan;
    const struct box_spec spec = {.id = c->id, .template_name = c->info.template_name};
    int count = 0, rc = box_plan_make(&host->layout, &spec, 0, &plan, &c->err);
    size_t used = 0;
    if (rc < 0)
        return 0;
    fds[count++] = openat(c->target, OWN, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < c->chain.count; i++) {
        char path[BOX_ID_MAX + 16];
        snprintf(path, sizeof path, "%s/upper", c->chain.ids[i]);
        fds[count++] = openat(host->snapshots.dir, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    if (!c->chain.whole) {
        fds[count++] = open(plan.layer_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        fds[count++] = open(plan.template_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    for (int i = 0; i < count; i++) {
        if (fds[i] < 0)
            err_os(&c->err, ENOENT, "open the layers of snapshot %s", c->id);
        used += (size_t)snprintf(lower + used, size - used, "%s/proc/self/fd/%d", i ? ":" : "",
                                 fds[i]);
    }
    return count;
}

/* The files as a sandbox sees them, template and all, through a mount that is attached nowhere. */
static void merge(struct copying *c)
{
    char lower[(BOX_LAYERS_MAX + 3) * 24];
    int fds[BOX_LAYERS_MAX + 3], count = open_layers(c, fds, lower, sizeof lower);
    struct copy_result result;
    _cleanup_close_ int fs = c->err.code ? -1 : fsopen("overlay", FSOPEN_CLOEXEC), mount = -1,
                        root = -1;
    if (c->err.code == ERR_OK &&
        (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0) < 0 ||
         fsconfig(fs, FSCONFIG_SET_STRING, "redirect_dir", "follow", 0) < 0 ||
         fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ||
         (mount = fsmount(fs, FSMOUNT_CLOEXEC, 0)) < 0 ||
         (root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0))
        err_os(&c->err, errno, "put the layers of snapshot %s together", c->id);
    if (root >= 0 && copy_tree(root, c->target, "upper", &c->stop, &result, &c->err) == 0)
        c->info.bytes = result.bytes;
    for (int i = 0; i < count; i++)
        fd_closep(&fds[i]);
    remove_tree(c->target, OWN);
}

static void finish_run(struct worker_job *job)
{
    struct copying *c = CONTAINER_OF(job, struct copying, job);
    if (c->info.whole)
        merge(c);
    if (c->err.code == ERR_OK)
        layers_seal(c->host->snapshots.dir, c->id, &c->info, &c->err);
}

/* ---- in the host's thread ---- */

static void go_on(struct copying *c)
{
    struct box *box = c->box;
    char mark[BOX_ID_MAX + 16];
    if (!box)
        return;
    c->box = NULL;
    box->copying = NULL;
    struct err err;
    if (!box->frozen && host_stop_box(c->host, box, false, &err) < 0 && c->err.code == ERR_OK)
        c->err = err;
    mark_path(box->id, mark);
    unlinkat(c->host->sandboxes_fd, mark, 0);
}

void snapshot_forget(struct box *box)
{
    if (!box->copying)
        return;
    char mark[BOX_ID_MAX + 16];
    mark_path(box->id, mark);
    unlinkat(box->copying->host->sandboxes_fd, mark, 0);
    box->copying->stop = true;
    box->copying->box = NULL;
    box->copying = NULL;
}

struct disposal {
    struct worker_job job;
    struct box_host *host;
    char name[LAYERS_NEW_SIZE];
};

static void disposal_run(struct worker_job *job)
{
    struct disposal *d = CONTAINER_OF(job, struct disposal, job);
    /* Its name is free at once, and what a crash leaves of it is found in the trash. */
    char id[BOX_ID_MAX + 1];
    if (layers_trash(d->host->snapshots.dir, d->name, d->host->trash_fd, id) == 0)
        remove_tree(d->host->trash_fd, id);
}

static void disposal_done(struct worker_job *job)
{
    struct disposal *d = CONTAINER_OF(job, struct disposal, job);
    struct snapshot *s;
    LIST_FOREACH(s, &d->host->snapshots.all, link)
    if (s->removing && strcmp(s->id, d->name) == 0)
        break;
    if (s)
        layers_forget(&d->host->snapshots, s);
    if (!d->host->closing)
        snapshots_sweep(d->host); /* what it stood on may go, too */
    free(d);
}

static void dispose(struct box_host *host, const char *name)
{
    struct disposal *d = xcalloc(1, sizeof *d);
    d->job = (struct worker_job){disposal_run, disposal_done, NULL};
    d->host = host;
    snprintf(d->name, sizeof d->name, "%s", name);
    worker_add(host->worker, &d->job);
}

static void over(struct copying *c)
{
    struct box_host *host = c->host;
    char name[LAYERS_NEW_SIZE];
    const struct err *err = c->err.code == ERR_OK ? NULL : &c->err;
    layers_new_name(c->id, name);
    LIST_REMOVE(c, link);
    if (err)
        dispose(host, name);
    if (!host->closing)
        host->events.snapshotted(host->events.arg, c->id, c->owner, err);
    fd_closep(&c->source);
    fd_closep(&c->target);
    free(c);
    if (!host->closing)
        snapshots_sweep(host);
}

static void finish_done(struct worker_job *job)
{
    struct copying *c = CONTAINER_OF(job, struct copying, job);
    if (c->err.code == ERR_OK)
        layers_commit(&c->host->snapshots, c->id, &c->info, &c->err);
    over(c);
}

static void copy_done(struct worker_job *job)
{
    struct copying *c = CONTAINER_OF(job, struct copying, job);
    if (!c->box && c->err.code == ERR_OK)
        err_set(&c->err, ERR_CANCELED, 0, "the sandbox ended while it was copied");
    go_on(c);
    if (c->err.code != ERR_OK || c->host->closing) {
        over(c);
        return;
    }
    c->job = (struct worker_job){finish_run, finish_done, NULL};
    worker_add(c->host->copier, &c->job);
}

/* ---- beginning ---- */

static int open_target(struct box_host *host, struct copying *c, struct err *err)
{
    char name[LAYERS_NEW_SIZE];
    layers_new_name(c->id, name);
    if (mkdirat(host->snapshots.dir, name, 0700) < 0)
        return err_os(err, errno, "make snapshot %s", c->id);
    c->target = openat(host->snapshots.dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return c->target < 0 ? err_os(err, errno, "open snapshot %s", c->id) : 0;
}

static int open_source(struct box_host *host, struct box *box, struct copying *c, struct err *err)
{
    char path[BOX_ID_MAX + 16];
    int rc = layers_chain(&host->snapshots, box->record.base, &c->chain, err);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%s/upper", box->id);
    c->source = openat(host->files_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (c->source < 0)
        return err_os(err, errno, "open the files of sandbox %s", box->id);
    snprintf(c->info.template_name, sizeof c->info.template_name, "%s", box->record.template_name);
    snprintf(c->info.rootfs, sizeof c->info.rootfs, "%s", box->record.rootfs);
    c->info.whole = c->chain.count == BOX_LAYERS_MAX;
    if (!c->info.whole)
        snprintf(c->info.base, sizeof c->info.base, "%s", box->record.base);
    return 0;
}

static bool id_in_use(const struct box_host *host, const char *id)
{
    const struct copying *c;
    const struct snapshot *s;
    LIST_FOREACH(c, &host->copies, link)
    if (strcmp(c->id, id) == 0)
        return true;
    LIST_FOREACH(s, &host->snapshots.all, link)
    if (strcmp(s->id, id) == 0)
        return true;
    return false;
}

static int begin(struct box_host *host, struct box *box, struct copying *c, struct err *err)
{
    char mark[BOX_ID_MAX + 16];
    mark_path(box->id, mark);
    int rc = open_source(host, box, c, err);
    if (rc == 0)
        rc = open_target(host, c, err);
    if (rc == 0) {
        rc = fd_replace_file(host->sandboxes_fd, mark, "", 0, 0600);
        rc = rc < 0 ? err_os(err, -rc, "mark sandbox %s as being copied", box->id) : 0;
    }
    if (rc == 0 && !box->frozen)
        rc = host_stop_box(host, box, true, err);
    if (rc < 0)
        unlinkat(host->sandboxes_fd, mark, 0);
    return rc;
}

int box_snapshot(struct box_host *host, struct box *box, const char *id, void *owner,
                 struct err *err)
{
    if (!box_id_valid(id))
        return err_set(err, ERR_INVALID, 0, "snapshot id must match [a-z0-9]{1,%d}", BOX_ID_MAX);
    if (box->state != BOX_RUNNING)
        return err_set(err, ERR_PRECONDITION, 0, "sandbox %s does not run", box->id);
    if (box->copying)
        return err_set(err, ERR_CONFLICT, 0, "sandbox %s is being copied already", box->id);
    if (id_in_use(host, id))
        return err_set(err, ERR_EXISTS, 0, "snapshot %s exists", id);
    struct copying *c = xcalloc(1, sizeof *c);
    c->job = (struct worker_job){copy_run, copy_done, NULL};
    c->host = host;
    c->owner = owner;
    c->source = c->target = -1;
    snprintf(c->id, sizeof c->id, "%s", id);
    int rc = begin(host, box, c, err);
    if (rc < 0) {
        char name[LAYERS_NEW_SIZE];
        layers_new_name(id, name);
        fd_closep(&c->source);
        fd_closep(&c->target);
        dispose(host, name);
        free(c);
        return rc;
    }
    c->box = box;
    box->copying = c;
    LIST_INSERT_HEAD(&host->copies, c, link);
    worker_add(host->copier, &c->job);
    return 0;
}

/* ---- removing ---- */

static bool in_use(const struct box_host *host, const char *id)
{
    const struct copying *c;
    for (const struct box *box = host->boxes; box; box = box->next)
        if (strcmp(box->record.base, id) == 0)
            return true;
    LIST_FOREACH(c, &host->copies, link)
    for (size_t i = 0; i < c->chain.count; i++)
        if (strcmp(c->chain.ids[i], id) == 0)
            return true;
    return layers_is_base(&host->snapshots, id);
}

void snapshots_sweep(struct box_host *host)
{
    struct snapshot *s;
    LIST_FOREACH(s, &host->snapshots.all, link)
    {
        if (!s->doomed || s->removing || in_use(host, s->id))
            continue;
        s->removing = true;
        dispose(host, s->id);
    }
}

int box_host_drop(struct box_host *host, const char *id, struct err *err)
{
    struct snapshot *s = layers_find(&host->snapshots, id);
    if (!s || s->doomed)
        return 0;
    int rc = layers_doom(&host->snapshots, s, err);
    if (rc == 0)
        snapshots_sweep(host);
    return rc;
}

void box_host_each_snapshot(struct box_host *host, void (*each)(void *arg, const char *id),
                            void *arg)
{
    const struct snapshot *s;
    LIST_FOREACH(s, &host->snapshots.all, link)
    if (!s->doomed && !s->removing)
        each(arg, s->id);
}

/* ---- host ---- */

void snapshot_adopt(struct box_host *host, struct box *box)
{
    char mark[BOX_ID_MAX + 16];
    mark_path(box->id, mark);
    if (faccessat(host->sandboxes_fd, mark, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    /* Whether it was paused besides, the server knows. */
    if (host_stop_box(host, box, false, NULL) == 0)
        box->frozen = false;
    unlinkat(host->sandboxes_fd, mark, 0);
}

int snapshots_open(struct box_host *host, struct err *err)
{
    int dir = TAKE_FD(host->snapshots.dir);
    LIST_INIT(&host->copies);
    int rc = layers_open(&host->snapshots, dir, host->trash_fd, err);
    if (rc < 0)
        return rc;
    host->copier = worker_new();
    if (!host->copier)
        return err_os(err, errno, "start the snapshots' thread");
    host->copier_watch = (struct watch){WATCH_COPIER, NULL};
    return host_watch(host, worker_fd(host->copier), &host->copier_watch, err);
}

void snapshots_close(struct box_host *host)
{
    struct copying *c;
    LIST_FOREACH(c, &host->copies, link)
    c->stop = true;
    worker_free(host->copier); /* its last jobs report here */
    host->copier = NULL;
}
