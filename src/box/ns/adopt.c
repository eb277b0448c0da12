/* SPDX-License-Identifier: Apache-2.0 */
/* Finding again what runs. The truth is on disk and in the kernel: a sandbox is one whose record
 * is whole and whose init is the very process that the record names. All else is remains. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/host-internal.h"

#define RECORD_NEW BOX_RECORD_FILE ".new"

int adopt_record_prepare(struct box_host *host, struct box *box, struct err *err)
{
    struct box_record *record = &box->record;
    memcpy(record->boot, host->boot, sizeof record->boot);
    record->pid = (uint32_t)box->pid;
    int rc = box_record_start_time(box->pid, &record->start);
    if (rc < 0)
        return err_os(err, -rc, "start time of init");
    struct buf text;
    buf_init(&text, BOX_RECORD_MAX);
    _cleanup_close_ int fd = openat(box->dir_fd, RECORD_NEW,
                                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    rc = fd < 0 ? -errno : box_record_print(record, &text);
    if (rc >= 0)
        rc = fd_write_all(fd, buf_ptr(&text), buf_len(&text));
    buf_done(&text);
    return rc < 0 ? err_os(err, -rc, "write the record") : 0;
}

int adopt_record_commit(struct box *box, struct err *err)
{
    if (renameat(box->dir_fd, RECORD_NEW, box->dir_fd, BOX_RECORD_FILE) < 0)
        return err_os(err, errno, "commit the record");
    return 0;
}

static bool other_pid_namespace(pid_t pid)
{
    char path[32];
    struct stat ours, theirs;
    snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
    return stat("/proc/self/ns/pid", &ours) == 0 && stat(path, &theirs) == 0 &&
           (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev);
}

/* Whether the process has ended; one that nobody has reaped yet still takes signals. */
static bool is_over(int pidfd)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    return poll(&end, 1, 0) != 0;
}

/* A pidfd of the init that the record names, or -errno if it is not there any more. */
static int open_init(const struct box_host *host, const struct box_record *record)
{
    if (strcmp(record->boot, host->boot) != 0)
        return -ESRCH;
    pid_t pid = (pid_t)record->pid;
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return -errno;
    /* With the pidfd open, what is read under this pid now is either about this process, or the
     * process is dead, which its pidfd says. */
    uint64_t start;
    if (box_record_start_time(pid, &start) < 0 || start != record->start ||
        !other_pid_namespace(pid) || is_over(pidfd))
        return -ESRCH;
    return TAKE_FD(pidfd);
}

static int read_record(const struct box_host *host, const char *id, struct box_record *ret)
{
    char path[BOX_ID_MAX + 16];
    snprintf(path, sizeof path, "%s/%s", id, BOX_RECORD_FILE);
    _cleanup_free_ char *text = NULL;
    size_t len;
    int rc = fd_read_file(host->sandboxes_fd, path, BOX_RECORD_MAX, &text, &len);
    return rc < 0 ? rc : box_record_parse((struct str){text, len}, ret);
}

/* False if the id is remains. */
static bool adopt(struct box_host *host, const char *id)
{
    struct box_record record;
    if (read_record(host, id, &record) < 0)
        return false;
    _cleanup_close_ int pidfd = open_init(host, &record);
    if (pidfd < 0 || !uidslots_claim(host->slots, record.slot))
        return false;
    struct box *box = host_new_box(host, id, record.slot);
    box->state = BOX_RUNNING;
    box->ran = true;
    box->record = record;
    box->pid = (pid_t)record.pid;
    box->pidfd = TAKE_FD(pidfd);
    network_adopt(host, box);
    box->frozen = cgroup_frozen(host->cgroups, id);
    snapshot_adopt(host, box);
    box->pid_watch = (struct watch){WATCH_PID, box};
    struct err err;
    if (host_watch(host, box->pidfd, &box->pid_watch, &err) < 0) {
        net_host_release(host->net, record.slot);
        uidslots_release(host->slots, record.slot);
        host_free_box(host, box);
        return false;
    }
    return true;
}

static void each_in(int dir, void (*each)(struct box_host *host, const char *id),
                    struct box_host *host)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        fd_closep(&fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(stream));)
        if (box_id_valid(entry->d_name))
            each(host, entry->d_name);
    closedir(stream);
}

/* Its files are what there is of it, or will be when it has ended. */
static void adopt_parked(struct box_host *host, const char *id)
{
    struct box_record record;
    if (adopt(host, id)) {
        park_begin(host, box_host_find(host, id));
    } else if (read_record(host, id, &record) == 0) {
        struct box *box = host_new_box(host, id, BOX_NO_SLOT);
        box->record = record;
        box->parking = true;
        host_retire(host, box); /* what else is left of it goes */
    } else {
        host_remove_remains(host, id);
    }
}

static void adopt_or_remove(struct box_host *host, const char *id)
{
    if (park_marked(host, id))
        adopt_parked(host, id);
    else if (!adopt(host, id))
        host_remove_remains(host, id);
}

static void remove_unless_known(struct box_host *host, const char *id)
{
    for (struct box *box = host->boxes; box; box = box->next)
        if (strcmp(box->id, id) == 0)
            return;
    host_remove_remains(host, id);
}

static void remove_run_dir(struct box_host *host, const char *id)
{
    /* Only what looks like ours: others may keep things in the run directory. */
    char path[NAME_MAX + 16];
    struct stat st;
    snprintf(path, sizeof path, "%s/agent.sock", id);
    if (fstatat(host->run_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
        remove_unless_known(host, id);
}

static void remove_group(void *arg, const char *id)
{
    remove_unless_known(arg, id);
}

/* Whether a pid namespace is that of a sandbox that was adopted. */
static bool is_ours(void *arg, uint64_t pid_namespace)
{
    const struct box_host *host = arg;
    for (const struct box *box = host->boxes; box; box = box->next) {
        char path[32];
        struct stat st;
        snprintf(path, sizeof path, "/proc/%d/ns/pid", box->pid);
        if (box->state == BOX_RUNNING && stat(path, &st) == 0 && st.st_ino == pid_namespace)
            return true;
    }
    return false;
}

int adopt_all(struct box_host *host, struct err *err)
{
    each_in(host->sandboxes_fd, adopt_or_remove, host);
    cgroup_kill_strays(host->cgroups, is_ours, host);
    each_in(host->run_fd, remove_run_dir, host);
    each_in(host->trash_fd, remove_unless_known, host);
    each_in(host->files_fd, remove_unless_known, host);
    each_in(host->files_trash_fd, remove_unless_known, host);
    cgroup_each(host->cgroups, remove_group, host);
    return 0;
}
