/* SPDX-License-Identifier: Apache-2.0 */
/* Kits: made in a thread of their own, handed out and thrown away by the host's. */
#include "box/ns/kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/host-internal.h"
#include "box/remove.h"

enum { SOCKET_BACKLOG = 512 };

/* ---- in the thread: touches the kit, the slot's user namespace and the network only ---- */

static int make_directory(struct kit *kit, struct err *err)
{
    struct box_host *host = kit->host;
    if (mkdirat(host->ready_fd, kit->name, 0700) < 0)
        return err_os(err, errno, "make the directory");
    return 0;
}

static int make_files(struct kit *kit, struct err *err)
{
    struct box_host *host = kit->host;
    int rc = disk_make(host->disk, host->files_ready_fd, kit->name);
    if (rc < 0)
        return err_os(err, -rc, "make the directory for files");
    _cleanup_close_ int dir =
        openat(host->files_ready_fd, kit->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0 || mkdirat(dir, "upper", 0755) < 0 || mkdirat(dir, "work", 0700) < 0)
        return err_os(err, errno, "fill the directory for files");
    return 0;
}

/* Bound through the directory's descriptor: socket paths are limited to 107 bytes. */
static int bind_socket(int dir, int sock)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/agent.sock", dir);
    if (bind(sock, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    return 0;
}

static int make_socket(struct kit *kit, struct err *err)
{
    struct box_host *host = kit->host;
    if (mkdirat(host->run_ready_fd, kit->name, 0700) < 0)
        return err_os(err, errno, "make the socket's directory");
    _cleanup_close_ int dir =
        openat(host->run_ready_fd, kit->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    kit->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (dir < 0 || kit->sock < 0)
        return err_os(err, errno, "open the socket's directory");
    int rc = bind_socket(dir, kit->sock);
    if (rc < 0)
        return err_os(err, -rc, "bind agent.sock");
    /* The directory it is in now is root's alone: the server reaches it when it is in its place. */
    gid_t gid = host->options.server_gid;
    if (fchownat(dir, "agent.sock", 0, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(dir, "agent.sock", 0660, 0) < 0 || fchown(dir, 0, gid) < 0 ||
        fchmod(dir, 0750) < 0 || listen(kit->sock, SOCKET_BACKLOG) < 0)
        return err_os(err, errno, "open agent.sock to the server");
    return 0;
}

static int make_ids(struct kit *kit, struct err *err)
{
    int userns; /* stays the slot's */
    return uidslots_userns(kit->host->slots, kit->slot, &userns, err);
}

static int make_network(struct kit *kit, struct err *err)
{
    return net_host_sandbox(kit->host->net, kit->slot, kit->internet, &kit->netns, err);
}

static int make_groups(struct kit *kit, struct err *err)
{
    return cgroup_prepare(kit->host->cgroups, kit->group_name, &kit->limits, &kit->groups, err);
}

static const struct {
    const char *name;
    int (*run)(struct kit *kit, struct err *err);
} steps[] = {{"directory", make_directory},
             {"files", make_files},
             {"socket", make_socket},
             {"user namespace", make_ids},
             {"network", make_network},
             {"cgroups", make_groups}};

static void kit_run(struct worker_job *job)
{
    struct kit *kit = CONTAINER_OF(job, struct kit, job);
    if (kit->host->closing) {
        err_set(&kit->err, ERR_CANCELED, 0, "the host is closed");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int rc = steps[i].run(kit, &kit->err);
        if (rc == 0 && host_fails(kit->host, "kit", steps[i].name))
            rc = err_set(&kit->err, ERR_INTERNAL, EIO, "told to fail");
        if (rc < 0) {
            err_wrap(&kit->err, steps[i].name);
            return;
        }
    }
}

/* ---- in the host's thread ---- */

static void set_idle(struct box_host *host, bool idle)
{
    worker_set_idle(host->maker, idle);
    net_host_set_idle(host->net, idle);
}

static struct kit **find_coming(struct box_host *host, const struct kit *kit)
{
    struct kit **link = &host->coming;
    while (*link && *link != kit)
        link = &(*link)->next;
    return link;
}

static void kit_done(struct worker_job *job)
{
    struct kit *kit = CONTAINER_OF(job, struct kit, job);
    struct box_host *host = kit->host;
    struct making *making = kit->making;
    host->kits_coming--;
    if (making) {
        if (--host->kits_awaited == 0)
            set_idle(host, true);
        making_continue(making, kit);
        return;
    }
    *find_coming(host, kit) = kit->next;
    if (kit->err.code == ERR_OK && !host->closing) {
        kit->next = host->kits;
        host->kits = kit;
        host->kits_ready++;
    } else {
        /* What it failed for will be said to the next who wants one and waits for it. */
        kit_discard(kit, true);
    }
}

static struct kit *kit_new(struct box_host *host, bool internet, struct err *err)
{
    int slot = uidslots_take(host->slots);
    if (slot < 0) {
        err_set(err, ERR_EXHAUSTED, 0, "all %d sandboxes of this server are in use", BOX_SLOTS);
        return NULL;
    }
    struct kit *kit = xcalloc(1, sizeof *kit);
    kit->job = (struct worker_job){kit_run, kit_done, NULL};
    kit->host = host;
    kit->slot = (unsigned)slot;
    kit->internet = internet;
    kit->sock = kit->netns = -1;
    kit->limits = host->usual;
    cgroup_fds_init(&kit->groups);
    snprintf(kit->name, sizeof kit->name, "%llu", (unsigned long long)++host->last_kit);
    snprintf(kit->group_name, sizeof kit->group_name, CGROUP_KIT "%s", kit->name);
    host->kits_coming++;
    return kit;
}

static struct kit *take_ready(struct box_host *host)
{
    struct kit *kit = host->kits;
    if (kit) {
        host->kits = kit->next;
        host->kits_ready--;
    }
    return kit;
}

/* Has the creation wait for a kit: for one that is coming already, or else for a new one. */
static int order(struct box_host *host, struct making *making, bool internet, struct err *err)
{
    struct kit *kit = internet ? host->coming : NULL;
    if (kit) {
        host->coming = kit->next;
    } else {
        kit = kit_new(host, internet, err);
        if (!kit && host->kits) {
            /* The last slots are those of kits that do not fit. */
            kit_discard(take_ready(host), true);
            kit = kit_new(host, internet, err);
        }
        if (!kit)
            return -EAGAIN;
        worker_add_first(host->maker, &kit->job);
    }
    kit->making = making;
    host->kits_awaited++;
    set_idle(host, false);
    return 0;
}

int kit_get(struct box_host *host, struct making *making, bool internet, struct kit **ret,
            struct err *err)
{
    struct kit *kit = internet ? take_ready(host) : NULL;
    if (!kit)
        return order(host, making, internet, err);
    *ret = kit;
    return 1;
}

/* How long after a creation its kit is replaced, when there are enough left: what comes after a
 * creation is the first command in it, and a lower priority is not enough to stay out of its way, as
 * the kernel does not interrupt itself in the 0.4 ms that it makes a network namespace. */
enum { PATIENCE_MS = 5 };

static void refill(struct box_host *host)
{
    /* Those that somebody waits for come first, and with them the processors are busy enough. */
    while (!host->closing && host->kits_awaited == 0 &&
           host->kits_ready + host->kits_coming < host->options.net_pool) {
        struct kit *kit = kit_new(host, true, NULL);
        if (!kit)
            return;
        *find_coming(host, NULL) = kit;
        worker_add(host->maker, &kit->job);
    }
}

void kits_refill(struct box_host *host)
{
    if (host->kits_ready + host->kits_coming <= host->options.net_pool / 2) {
        refill(host);
        return;
    }
    const struct itimerspec later = {.it_value = {0, PATIENCE_MS * 1000000}};
    timerfd_settime(host->patience_fd, 0, &later, NULL);
}

void kits_timer(struct box_host *host)
{
    uint64_t count;
    if (read(host->patience_fd, &count, sizeof count) > 0)
        refill(host);
}

static int place(const struct kit *kit, int ready, int at, const char *id, const char *what,
                 int *ret, struct err *err)
{
    if (renameat2(ready, kit->name, at, id, RENAME_NOREPLACE) < 0)
        return err_os(err, errno, "move to %s/%s", what, id);
    *ret = openat(at, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *ret < 0 ? err_os(err, errno, "open %s/%s", what, id) : 0;
}

int kit_place_directory(struct kit *kit, const char *id, int *ret_dir, struct err *err)
{
    const struct box_host *host = kit->host;
    return place(kit, host->ready_fd, host->sandboxes_fd, id, "sandboxes", ret_dir, err);
}

int kit_place_files(struct kit *kit, const char *id, int *ret_files, struct err *err)
{
    const struct box_host *host = kit->host;
    return place(kit, host->files_ready_fd, host->files_fd, id, "files", ret_files, err);
}

int kit_place_socket(struct kit *kit, const char *id, struct err *err)
{
    struct box_host *host = kit->host;
    if (renameat2(host->run_ready_fd, kit->name, host->run_fd, id, RENAME_NOREPLACE) < 0)
        return err_os(err, errno, "move %s/agent.sock into the run directory", id);
    return 0;
}

static bool same_groups(const struct box_limits *a, const struct box_limits *b)
{
    return a->memory_bytes == b->memory_bytes && a->cpu_millis == b->cpu_millis &&
           a->pids == b->pids;
}

int kit_place_groups(struct kit *kit, const char *id, const struct box_limits *limits,
                     struct cgroup_fds *ret, struct err *err)
{
    struct box_host *host = kit->host;
    int rc = 0;
    host->usual = *limits;
    if (!same_groups(&kit->limits, limits)) {
        cgroup_fds_done(&kit->groups);
        cgroup_remove(host->cgroups, kit->group_name);
        rc = cgroup_prepare(host->cgroups, kit->group_name, limits, &kit->groups, err);
    }
    if (rc == 0)
        rc = cgroup_place(host->cgroups, kit->group_name, id, limits, &kit->groups, err);
    if (rc < 0)
        return rc;
    *ret = kit->groups;
    cgroup_fds_init(&kit->groups);
    return 0;
}

/* ---- throwing away ---- */

struct disposal {
    struct worker_job job;
    struct box_host *host;
    char name[sizeof((struct kit *)NULL)->name];
    char group_name[sizeof((struct kit *)NULL)->group_name];
};

static void disposal_run(struct worker_job *job)
{
    struct disposal *d = CONTAINER_OF(job, struct disposal, job);
    /* What was placed is not here any more. What cannot be removed now is found at the next start. */
    disk_remove(d->host->disk, d->host->files_ready_fd, d->name);
    remove_tree(d->host->ready_fd, d->name);
    remove_tree(d->host->run_ready_fd, d->name);
    cgroup_remove(d->host->cgroups, d->group_name);
}

static void disposal_done(struct worker_job *job)
{
    free(CONTAINER_OF(job, struct disposal, job));
}

void kit_discard(struct kit *kit, bool with_slot)
{
    if (!kit)
        return;
    struct box_host *host = kit->host;
    fd_closep(&kit->sock);
    fd_closep(&kit->netns);
    cgroup_fds_done(&kit->groups);
    if (with_slot) {
        net_host_release(host->net, kit->slot);
        uidslots_release(host->slots, kit->slot);
    }
    struct disposal *d = xcalloc(1, sizeof *d);
    d->job = (struct worker_job){disposal_run, disposal_done, NULL};
    d->host = host;
    memcpy(d->name, kit->name, sizeof d->name);
    memcpy(d->group_name, kit->group_name, sizeof d->group_name);
    worker_add(host->worker, &d->job);
    free(kit);
}

/* ---- opening and closing ---- */

static int empty(int dir, const char *what, struct err *err)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        int os = errno;
        fd_closep(&fd);
        return err_os(err, os, "read %s", what);
    }
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(stream));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = remove_tree(dir, entry->d_name);
    closedir(stream);
    return rc < 0 ? err_os(err, -rc, "empty %s", what) : 0;
}

int kits_open(struct box_host *host, struct err *err)
{
    int rc = disk_empty(host->disk, host->files_ready_fd);
    if (rc < 0)
        return err_os(err, -rc, "empty the files' ready/");
    rc = empty(host->ready_fd, "the state directory's ready/", err);
    if (rc == 0)
        rc = empty(host->run_ready_fd, "the run directory's .ready/", err);
    if (rc < 0)
        return rc;
    cgroup_remove_kits(host->cgroups);
    host->maker = worker_new();
    if (!host->maker)
        return err_os(err, errno, "start the kits' thread");
    set_idle(host, true);
    host->patience_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (host->patience_fd < 0)
        return err_os(err, errno, "make the kits' timer");
    host->maker_watch = (struct watch){WATCH_MAKER, NULL};
    host->patience_watch = (struct watch){WATCH_PATIENCE, NULL};
    rc = host_watch(host, worker_fd(host->maker), &host->maker_watch, err);
    return rc < 0 ? rc : host_watch(host, host->patience_fd, &host->patience_watch, err);
}

void kits_close(struct box_host *host)
{
    host->closing = true;
    worker_free(host->maker); /* its last jobs report here */
    host->maker = NULL;
    for (struct kit *kit; (kit = take_ready(host));)
        kit_discard(kit, true);
}
