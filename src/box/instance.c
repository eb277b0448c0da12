/* SPDX-License-Identifier: Apache-2.0 */
/* Claiming an instance number. */
#include "box/instance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "box/plan.h"

struct candidate {
    int fd;
    bool locked; /* by us */
    char path[PATH_MAX];
};

/* Whether sandboxes of this state directory may still exist. Unreadable counts as yes. */
static bool has_sandboxes(const char *state_dir)
{
    _cleanup_free_ char *path = path_join(state_dir, "sandboxes");
    DIR *dir = opendir(path);
    if (!dir)
        return errno != ENOENT && errno != ENOTDIR;
    bool any = false;
    for (struct dirent *entry; !any && (entry = readdir(dir));)
        any = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return any;
}

/* The lock of a launcher that was killed goes with its last process, which may take a moment. */
static void await_lock(struct candidate *c)
{
    const struct timespec pause = {0, 10000000};
    for (int i = 0; i < 50 && !c->locked; i++) {
        nanosleep(&pause, NULL);
        c->locked = flock(c->fd, LOCK_EX | LOCK_NB) == 0;
    }
}

static int open_candidate(int dir, unsigned number, const char *state_dir, struct candidate *c,
                          struct err *err)
{
    char name[8];
    snprintf(name, sizeof name, "%u", number);
    c->fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (c->fd < 0)
        return err_os(err, errno, "instance number %u", number);
    ssize_t n = fd_read_all(c->fd, c->path, sizeof c->path - 1);
    c->path[n > 0 ? n : 0] = '\0';
    c->locked = flock(c->fd, LOCK_EX | LOCK_NB) == 0;
    if (strcmp(c->path, state_dir) == 0)
        await_lock(c);
    return 0;
}

static int record_owner(const struct candidate *c, const char *state_dir, struct err *err)
{
    size_t n = strlen(state_dir);
    if (ftruncate(c->fd, 0) < 0 || pwrite(c->fd, state_dir, n, 0) != (ssize_t)n)
        return err_os(err, errno, "record the instance number");
    return 0;
}

/* The number that state_dir has or may have; -1 if there is none. */
static int choose(const struct candidate c[BOX_INSTANCES], const char *state_dir)
{
    for (int i = 0; i < BOX_INSTANCES; i++)
        if (strcmp(c[i].path, state_dir) == 0)
            return i;
    for (int i = 0; i < BOX_INSTANCES; i++)
        if (c[i].locked && !c[i].path[0])
            return i;
    for (int i = 0; i < BOX_INSTANCES; i++)
        if (c[i].locked && !has_sandboxes(c[i].path))
            return i;
    return -1;
}

static int claim(int dir, const char *state_dir, unsigned *ret_number, int *ret_lock,
                 struct err *err)
{
    struct candidate *c = xcalloc(BOX_INSTANCES, sizeof *c);
    for (size_t i = 0; i < BOX_INSTANCES; i++)
        c[i].fd = -1;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < BOX_INSTANCES; i++)
        rc = open_candidate(dir, i, state_dir, &c[i], err);
    int number = rc == 0 ? choose(c, state_dir) : -1;
    if (rc == 0 && number < 0)
        rc = err_set(err, ERR_EXHAUSTED, 0, "all %d instance numbers of this host are taken",
                     BOX_INSTANCES);
    else if (rc == 0 && !c[number].locked)
        rc = err_set(err, ERR_CONFLICT, 0, "a launcher already runs on %s", state_dir);
    else if (rc == 0)
        rc = record_owner(&c[number], state_dir, err);
    if (rc == 0) {
        *ret_number = (unsigned)number;
        *ret_lock = TAKE_FD(c[number].fd);
    }
    for (size_t i = 0; i < BOX_INSTANCES; i++)
        fd_closep(&c[i].fd);
    free(c);
    return rc;
}

int instance_claim(const char *dir, const char *state_dir, unsigned *ret_number, int *ret_lock,
                   struct err *err)
{
    char real[PATH_MAX];
    if (!realpath(state_dir, real))
        return err_os(err, errno, "state directory %s", state_dir);
    int rc = path_make_dirs(dir, 0755);
    if (rc < 0)
        return err_os(err, -rc, "make %s", dir);
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    /* One at a time: two starting together must not choose the same free number. */
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        return err_os(err, errno, "open %s", dir);
    return claim(fd, real, ret_number, ret_lock, err);
}

unsigned instance_find(const char *dir, const char *state_dir)
{
    char real[PATH_MAX], path[PATH_MAX], owner[PATH_MAX];
    if (!realpath(state_dir, real))
        return 0;
    for (unsigned i = 0; i < BOX_INSTANCES; i++) {
        snprintf(path, sizeof path, "%s/%u", dir, i);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t n = fd < 0 ? 0 : fd_read_all(fd, owner, sizeof owner - 1);
        owner[n > 0 ? n : 0] = '\0';
        if (strcmp(owner, real) == 0)
            return i;
    }
    return 0;
}
