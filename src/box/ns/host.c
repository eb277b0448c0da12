/* SPDX-License-Identifier: Apache-2.0 */
/* The host as a whole: opening, the sandboxes' list, events, retiring what is dead. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "box/ns/host-internal.h"
#include "box/ns/seccomp.h"
#include "box/remove.h"
#include "box/weaken.h"

struct box *host_new_box(struct box_host *host, const char *id, unsigned slot)
{
    struct box *box = xcalloc(1, sizeof *box);
    snprintf(box->id, sizeof box->id, "%s", id);
    box->slot = slot;
    box->pidfd = box->status_fd = box->dir_fd = -1;
    box->next = host->boxes;
    box->link = &host->boxes;
    if (box->next)
        box->next->link = &box->next;
    host->boxes = box;
    guard_wake(host);
    return box;
}

void host_free_box(struct box_host *host, struct box *box)
{
    snapshot_forget(box);
    reclaim_end(box);
    *box->link = box->next;
    if (box->next)
        box->next->link = box->link;
    host_unwatch(host, &box->pidfd);
    host_unwatch(host, &box->status_fd);
    fd_closep(&box->dir_fd);
    free(box->network);
    free(box);
}

int host_watch(struct box_host *host, int fd, struct watch *watch, struct err *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};
    if (epoll_ctl(host->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return err_os(err, errno, "epoll");
    return 0;
}

void host_unwatch(struct box_host *host, int *fd)
{
    /* Closing alone does not end a watch while a fork of ours still has the descriptor. */
    if (*fd >= 0)
        epoll_ctl(host->epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
    fd_closep(fd);
}

bool host_fails(const struct box_host *host, const char *who, const char *step)
{
    char both[80];
    snprintf(both, sizeof both, "%s: %s", who, step);
    return host->options.fail_step && strcmp(host->options.fail_step, both) == 0;
}

/* ---- removing what is dead ---- */

/* Removals are nobody's hurry unless they pile up. */
enum { REMOVALS_IDLE_MAX = 32 };

struct removal {
    struct worker_job job;
    struct box_host *host;
    struct box *box;
    char id[BOX_ID_MAX + 1];
    bool keep;      /* the files */
    struct err err; /* code ERR_OK: all is gone */
};

static int remove_groups(struct box_host *host, const char *id)
{
    int64_t until = clock_mono_ns() + 10 * CLOCK_S;
    for (;;) {
        int rc = cgroup_remove(host->cgroups, id);
        if (rc != -EBUSY || clock_mono_ns() > until)
            return rc;
        /* Remains of a launcher that died may still have processes, frozen ones even. */
        if (cgroup_kill(host->cgroups, id) > 0)
            cgroup_freeze(host->cgroups, id, false);
        const struct timespec pause = {0, 500000};
        nanosleep(&pause, NULL);
    }
}

static void keep_files(struct removal *r)
{
    _cleanup_close_ int dir =
        openat(r->host->sandboxes_fd, r->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_close_ int files =
        openat(r->host->files_fd, r->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0 || files < 0 || syncfs(files) < 0 || syncfs(dir) < 0)
        err_os(&r->err, errno, "put the files of %s on disk", r->id);
}

static void removal_run(struct worker_job *job)
{
    struct removal *r = CONTAINER_OF(job, struct removal, job);
    struct box_host *host = r->host;
    char path[BOX_ID_MAX + 16];
    snprintf(path, sizeof path, "%s/agent.sock", r->id);
    if (unlinkat(host->run_fd, path, 0) < 0 && errno != ENOENT)
        err_os(&r->err, errno, "remove %s", path);
    if (unlinkat(host->run_fd, r->id, AT_REMOVEDIR) < 0 && errno != ENOENT)
        err_os(&r->err, errno, "remove run directory %s", r->id);
    int rc = remove_groups(host, r->id);
    if (rc < 0)
        err_os(&r->err, -rc, "remove cgroups of %s", r->id);
    if (r->keep) {
        keep_files(r);
        return;
    }
    /* Elsewhere, since a directory is locked against making new ones in it for as long as the removal
     * of one takes. */
    renameat(host->files_fd, r->id, host->files_trash_fd, r->id);
    rc = disk_remove(host->disk, host->files_trash_fd, r->id);
    if (rc == 0)
        rc = disk_remove(host->disk, host->files_fd, r->id);
    if (rc == 0)
        rc = remove_tree(host->trash_fd, r->id);
    if (rc == 0) /* last, since this is what the next start looks at */
        rc = remove_tree(host->sandboxes_fd, r->id);
    if (rc < 0)
        err_os(&r->err, -rc, "remove directory of %s", r->id);
}

static void removal_done(struct worker_job *job)
{
    struct removal *r = CONTAINER_OF(job, struct removal, job);
    r->host->removing--;
    if (r->host->removing <= REMOVALS_IDLE_MAX / 2)
        worker_set_idle(r->host->worker, true);
    if (r->keep) {
        park_done(r->host, r->box, r->err.code == ERR_OK ? NULL : &r->err);
        free(r);
        return;
    }
    host_free_box(r->host, r->box);
    snapshots_sweep(r->host);
    if (r->host->events.removed)
        r->host->events.removed(r->host->events.arg, r->id, r->err.code == ERR_OK ? NULL : &r->err);
    free(r);
}

static void begin_removal(struct box_host *host, struct box *box)
{
    box->state = box->parking ? BOX_PARKING : BOX_REMOVING;
    struct removal *r = xcalloc(1, sizeof *r);
    r->job = (struct worker_job){removal_run, removal_done, NULL};
    r->host = host;
    r->box = box;
    r->keep = box->parking;
    snprintf(r->id, sizeof r->id, "%s", box->id);
    host->removing++;
    worker_set_idle(host->worker, host->removing <= REMOVALS_IDLE_MAX);
    worker_add(host->worker, &r->job);
}

void host_remove_remains(struct box_host *host, const char *id)
{
    /* In the list, so that the id is not given away before it is free. */
    begin_removal(host, host_new_box(host, id, BOX_NO_SLOT));
}

static void creation_over(struct box_host *host)
{
    if (--host->starting == 0)
        kits_refill(host);
}

void host_retire(struct box_host *host, struct box *box)
{
    if (!box->ran && box->state != BOX_PARKED && box->state != BOX_PARKING && host->starting)
        creation_over(host);
    snapshot_forget(box);
    reclaim_end(box);
    host_unwatch(host, &box->pidfd);
    host_unwatch(host, &box->status_fd);
    fd_closep(&box->dir_fd);
    if (box->slot != BOX_NO_SLOT) {
        net_host_release(host->net, box->slot);
        uidslots_release(host->slots, box->slot);
        box->slot = BOX_NO_SLOT;
    }
    begin_removal(host, box);
}

/* ---- events ---- */

void host_box_over(struct box_host *host, struct box *box)
{
    bool ran = box->ran;
    host_retire(host, box);
    if (ran) {
        host->events.ended(host->events.arg, box, box->asked);
        return;
    }
    if (box->failure.code == ERR_OK)
        err_set(&box->failure, box->asked ? ERR_CANCELED : ERR_INTERNAL, 0,
                box->asked ? "destroyed while it was being made"
                           : "init ended before it was ready");
    host->events.created(host->events.arg, box, &box->failure);
}

static void fail(struct box_host *host, struct box *box)
{
    box->state = BOX_ENDING;
    if (box->pidfd < 0) {
        /* The child, if there is one, finds nobody at the other end of its status pipe and ends by
         * itself; until then its groups cannot be removed, so that it is not forgotten. */
        host_box_over(host, box);
        return;
    }
    syscall(SYS_pidfd_send_signal, box->pidfd, SIGKILL, NULL, 0);
}

static void maybe_running(struct box_host *host, struct box *box)
{
    if (box->state != BOX_STARTING || !box->ready || box->pidfd < 0)
        return;
    if (adopt_record_commit(box, &box->failure) < 0) {
        fail(host, box);
        return;
    }
    if (box->parking)
        park_unmark(host, box->id);
    box->parking = false;
    fd_closep(&box->dir_fd);
    box->state = BOX_RUNNING;
    box->ran = true;
    creation_over(host);
    host->events.created(host->events.arg, box, NULL);
}

static void on_status(struct box_host *host, struct box *box)
{
    struct box_status status = {0};
    ssize_t n = fd_read_all(box->status_fd, &status, sizeof status);
    host_unwatch(host, &box->status_fd);
    status.step[sizeof status.step - 1] = '\0';
    if (n == (ssize_t)sizeof status && status.os == 0) {
        box->ready = true;
        maybe_running(host, box);
        return;
    }
    if (n == (ssize_t)sizeof status)
        err_os(&box->failure, status.os, "%s", status.step);
    if (box->state == BOX_STARTING && box->pidfd >= 0)
        fail(host, box);
    else if (box->state == BOX_STARTING)
        box->state = BOX_ENDING; /* the zygote's answer is still to come */
}

static void on_born(struct box_host *host, const struct box_born *born, int pidfd)
{
    struct box *box = host->boxes;
    /* One that has been given up meanwhile is not what was asked for any more. */
    while (box && (box->serial != born->serial ||
                   (box->state != BOX_STARTING && box->state != BOX_ENDING)))
        box = box->next;
    if (!box || born->os) {
        fd_closep(&pidfd);
        if (box) {
            err_os(&box->failure, born->os, "clone");
            host_box_over(host, box);
        }
        return;
    }
    box->pid = born->pid;
    box->pidfd = pidfd;
    box->pid_watch = (struct watch){WATCH_PID, box};
    struct err *err = &box->failure;
    if (host_watch(host, pidfd, &box->pid_watch, err) < 0) {
        fail(host, box);
        fd_closep(&box->pidfd);
        host_box_over(host, box);
    } else if (box->state == BOX_ENDING || adopt_record_prepare(host, box, err) < 0) {
        fail(host, box);
    } else {
        maybe_running(host, box);
    }
}

static void on_zygote(struct box_host *host)
{
    struct box_born born;
    int pidfd, rc;
    while ((rc = zygote_answer(&host->zygote, &born, &pidfd)) > 0)
        on_born(host, &born, pidfd);
    if (rc == 0)
        return;
    zygote_stop(&host->zygote);
    /* The next creation starts a new one; those under way without an answer are lost. */
    for (struct box *box = host->boxes, *next; box; box = next) {
        next = box->next;
        bool asked = box->state == BOX_STARTING || box->state == BOX_ENDING;
        if (asked && !box->making && box->pidfd < 0) {
            if (box->failure.code == ERR_OK && !box->asked)
                err_set(&box->failure, ERR_UNAVAILABLE, 0, "the zygote ended");
            host_box_over(host, box);
        }
    }
}

int host_need_zygote(struct box_host *host, struct err *err)
{
    if (host->zygote.sock >= 0)
        return 0;
    int joins[BOX_CGROUPS_MAX];
    size_t count = cgroup_open_agents(host->cgroups, joins);
    int rc = zygote_start(host->image_fd, host->filter_fd, joins, count, host->options.keep_stderr,
                          &host->zygote, err);
    for (size_t i = 0; i < count; i++)
        close(joins[i]);
    if (rc < 0)
        return rc;
    host->zygote_watch = (struct watch){WATCH_ZYGOTE, NULL};
    return host_watch(host, host->zygote.sock, &host->zygote_watch, err);
}

void box_host_step(struct box_host *host)
{
    /* One at a time: handling an event may end the watch of another. */
    struct epoll_event event;
    for (int i = 0; i < 64 && epoll_wait(host->epoll_fd, &event, 1, 0) == 1; i++) {
        struct watch *watch = event.data.ptr;
        switch (watch->kind) {
        case WATCH_ZYGOTE:
            on_zygote(host);
            break;
        case WATCH_WORKER:
            worker_collect(host->worker);
            break;
        case WATCH_MAKER:
            worker_collect(host->maker);
            break;
        case WATCH_COPIER:
            worker_collect(host->copier);
            break;
        case WATCH_RECLAIMER:
            worker_collect(host->reclaimer);
            break;
        case WATCH_PATIENCE:
            kits_timer(host);
            break;
        case WATCH_GUARD:
            guard_step(host);
            break;
        case WATCH_STATUS:
            on_status(host, watch->box);
            break;
        case WATCH_PID:
            host_box_over(host, watch->box);
            break;
        }
    }
}

int box_host_fd(const struct box_host *host)
{
    return host->epoll_fd;
}

size_t box_host_starting(const struct box_host *host)
{
    return host->starting;
}

size_t box_host_removing(const struct box_host *host)
{
    return host->removing;
}

/* ---- opening and closing ---- */

static int open_below(const char *parent, const char *name, unsigned mode, int *ret,
                      struct err *err)
{
    _cleanup_free_ char *path = name ? path_join(parent, name) : xstrdup(parent);
    int rc = path_make_dirs(path, mode);
    if (rc < 0)
        return err_os(err, -rc, "make %s", path);
    *ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret < 0 ? err_os(err, errno, "open %s", path) : 0;
}

/* ext4 puts what is made in a directory beside it. The trees in here are unrelated and short-lived:
 * spread over the disk (chattr +T) making one does not have to step over the inodes of those just
 * removed, which takes up to a millisecond. Elsewhere the flag does not exist, or means nothing. */
static void spread(int dir)
{
    int flags;
    if (ioctl(dir, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_TOPDIR_FL;
        ioctl(dir, FS_IOC_SETFLAGS, &flags);
    }
}

static int open_dirs(struct box_host *host, struct err *err)
{
    const struct box_host_options *o = &host->options;
    const struct disk_options disk = {.state_dir = o->state_dir,
                                      .instance = o->instance,
                                      .backend = o->disk,
                                      .image_bytes = o->disk_image_bytes};
    int rc = path_make_dirs(o->state_dir, 0755);
    rc = rc < 0 ? err_os(err, -rc, "make %s", o->state_dir) : disk_open(&disk, &host->disk, err);
    if (rc < 0)
        return rc;
    host->layout.disk_name = disk_binds(host->disk, NULL) ? disk_name(host->disk) : "";
    rc = open_below(disk_path(host->disk), "files", 0700, &host->files_fd, err);
    if (rc == 0)
        rc = open_below(disk_path(host->disk), "trash", 0700, &host->files_trash_fd, err);
    if (rc == 0)
        rc = open_below(disk_path(host->disk), "ready", 0700, &host->files_ready_fd, err);
    if (rc == 0)
        rc = open_below(o->state_dir, "sandboxes", 0700, &host->sandboxes_fd, err);
    if (rc == 0)
        rc = open_below(o->state_dir, "snapshots", 0700, &host->snapshots.dir, err);
    if (rc == 0)
        rc = open_below(o->state_dir, "trash", 0700, &host->trash_fd, err);
    if (rc == 0)
        rc = open_below(o->state_dir, "ready", 0700, &host->ready_fd, err);
    if (rc == 0)
        rc = open_below(o->state_dir, "layers", 0700, &host->layers_fd, err);
    if (rc == 0)
        rc = open_below(o->run_dir, ".ready", 0700, &host->run_ready_fd, err);
    if (rc == 0)
        rc = open_below(o->run_dir, NULL, 0755, &host->run_fd, err);
    if (rc < 0)
        return rc;
    spread(host->ready_fd);
    spread(host->files_ready_fd);
    host->templates_fd = open(o->templates_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (host->templates_fd < 0)
        return err_os(err, errno, "templates directory %s", o->templates_dir);
    return 0;
}

static int load_programs(struct box_host *host, struct err *err)
{
    struct seccomp_filter filter;
    int rc = seccomp_compile(&filter, err);
    if (rc < 0)
        return rc;
    if (host->options.weaken & BOX_WEAKEN_SECCOMP)
        seccomp_allow_all(&filter);
    host->filter_fd = zygote_load_filter(&filter);
    seccomp_done(&filter);
    if (host->filter_fd < 0)
        return err_os(err, -host->filter_fd, "load the system call filter");
    host->image_fd = zygote_load_image(host->options.image, host->options.image_size);
    return host->image_fd < 0 ? err_os(err, -host->image_fd, "load the init program") : 0;
}

static int open_kernel_side(struct box_host *host, struct err *err)
{
    const struct box_host_options *o = &host->options;
    char parent[64];
    snprintf(parent, sizeof parent, "%s-%u", o->cgroup_parent, o->instance);
    int rc = cgroup_host_open(parent, &host->cgroups, err);
    if (rc < 0)
        return rc;
    struct net_options net = {.instance = o->instance,
                              .dns_count = o->dns_count,
                              .opened_count = o->opened_count,
                              .relay = o->relay};
    memcpy(net.dns, o->dns, sizeof net.dns);
    memcpy(net.opened, o->opened, sizeof net.opened);
    rc = net_host_open(&net, &host->net, err);
    if (rc < 0)
        return rc;
    host->worker = worker_new();
    if (!host->worker)
        return err_os(err, errno, "start the removal thread");
    host->worker_watch = (struct watch){WATCH_WORKER, NULL};
    return host_watch(host, worker_fd(host->worker), &host->worker_watch, err);
}

static void fill_layout(struct box_host *host)
{
    const struct box_host_options *o = &host->options;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    host->layout = (struct box_layout){
        .state_dir = o->state_dir,
        .run_dir = o->run_dir,
        .templates_dir = o->templates_dir,
        .cgroup_parent = o->cgroup_parent,
        .instance = o->instance,
        .proc_masks = box_proc_masks(),
        .nofile_max = files.rlim_max > UINT32_MAX ? UINT32_MAX : (uint32_t)files.rlim_max};
    /* Two descriptors a sandbox. */
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

int box_host_open(const struct box_host_options *options, const struct box_events *events,
                  struct box_host **ret, struct err *err)
{
    assert(options->instance < BOX_INSTANCES);
    struct box_host *host = xcalloc(1, sizeof *host);
    host->options = *options;
    host->events = *events;
    host->sandboxes_fd = host->ready_fd = host->layers_fd = host->run_fd = host->templates_fd = -1;
    host->trash_fd = host->files_fd = host->files_ready_fd = host->files_trash_fd = -1;
    host->run_ready_fd = host->patience_fd = host->guard_fd = -1;
    host->image_fd = host->filter_fd = host->zygote.sock = host->snapshots.dir = -1;
    host->slots = uidslots_new(options->instance, options->weaken & BOX_WEAKEN_USERNS);
    fill_layout(host);
    host->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int rc = host->epoll_fd < 0 ? err_os(err, errno, "epoll") : box_record_boot_id(host->boot);
    if (rc == 0)
        rc = open_dirs(host, err);
    if (rc == 0)
        rc = load_programs(host, err);
    if (rc == 0)
        rc = open_kernel_side(host, err);
    if (rc == 0)
        rc = snapshots_open(host, err);
    if (rc == 0)
        rc = adopt_all(host, err);
    if (rc == 0)
        snapshots_sweep(host);
    if (rc == 0)
        rc = net_host_start(host->net, err);
    if (rc == 0)
        rc = guard_open(host, err);
    if (rc == 0)
        rc = kits_open(host, err);
    if (rc == 0)
        rc = host_need_zygote(host, err);
    if (rc < 0) {
        box_host_close(host);
        return rc;
    }
    kits_refill(host);
    *ret = host;
    return 0;
}

void box_host_close(struct box_host *host)
{
    if (!host)
        return;
    zygote_stop(&host->zygote);
    for (struct box *box = host->boxes; box; box = box->next)
        if (!box->ran && box->pidfd >= 0)
            syscall(SYS_pidfd_send_signal, box->pidfd, SIGKILL, NULL, 0);
    kits_close(host);
    reclaim_close(host);
    snapshots_close(host);
    /* Its last jobs report here, so the host must still be whole. */
    worker_free(host->worker);
    unlinkat(host->run_fd, ".ready", AT_REMOVEDIR);
    bool any = false, kept = host->boxes;
    for (const struct box *box = host->boxes; box; box = box->next)
        any = any || box->state != BOX_PARKED;
    while (host->boxes)
        host_free_box(host, host->boxes);
    for (struct layer *layer; (layer = host->layers);) {
        host->layers = layer->next;
        free(layer);
    }
    layers_close(&host->snapshots);
    net_host_close(host->net, !any);
    cgroup_host_close(host->cgroups, !any);
    uidslots_free(host->slots);
    int *const fds[] = {&host->epoll_fd,     &host->sandboxes_fd,   &host->ready_fd,
                        &host->files_fd,     &host->files_ready_fd, &host->files_trash_fd,
                        &host->layers_fd,    &host->run_fd,         &host->run_ready_fd,
                        &host->templates_fd, &host->image_fd,       &host->filter_fd,
                        &host->patience_fd,  &host->guard_fd,       &host->trash_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fd_closep(fds[i]);
    disk_close(host->disk, !kept);
    free(host);
}

const char *box_host_disk(const struct box_host *host, bool *ret_binds, const char **ret_why)
{
    *ret_binds = disk_binds(host->disk, ret_why);
    return disk_name(host->disk);
}
