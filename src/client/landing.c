/* SPDX-License-Identifier: Apache-2.0 */
/* A local file that appears under its name when it is complete. */
#include "client/landing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/random.h"
#include "base/str.h"

static char *hidden_name(void)
{
    char id[13];
    random_id(id, sizeof id - 1);
    return xasprintf(".carrel-%s", id);
}

int landing_open(struct landing *landing, int dir, const char *path)
{
    struct str parent = path_dir(str_from(path)), base = path_base(str_from(path));
    _cleanup_free_ char *parent_text = xstrndup(parent.p, parent.len);
    *landing = (struct landing){.fd = -1, .dir = -1};
    landing->dir = openat(dir, parent_text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (landing->dir < 0)
        return -errno;
    landing->name = xstrndup(base.p, base.len);
    landing->fd = openat(landing->dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (landing->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
        landing->hidden = hidden_name();
        landing->fd = openat(landing->dir, landing->hidden,
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    int rc = landing->fd < 0 ? -errno : 0;
    if (rc < 0)
        landing_done(landing);
    return rc;
}

/* A file without a name gets one at once; in the place of another it needs a hidden one first, for only
 * rename replaces. */
static int give_name(struct landing *landing)
{
    char proc[40];
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", landing->fd);
    if (landing->hidden)
        return 0;
    if (linkat(AT_FDCWD, proc, landing->dir, landing->name, AT_SYMLINK_FOLLOW) == 0)
        return 1;
    if (errno != EEXIST)
        return -errno;
    char *hidden = hidden_name();
    if (linkat(AT_FDCWD, proc, landing->dir, hidden, AT_SYMLINK_FOLLOW) < 0) {
        int rc = -errno;
        free(hidden);
        return rc;
    }
    landing->hidden = hidden;
    return 0;
}

int landing_finish(struct landing *landing, unsigned mode, int64_t mtime_ns)
{
    const struct timespec times[2] = {{0, UTIME_OMIT},
                                      {mtime_ns / 1000000000, mtime_ns % 1000000000}};
    if (fchmod(landing->fd, mode & 0777) < 0)
        return -errno;
    if (mtime_ns >= 0)
        futimens(landing->fd, times);
    int rc = give_name(landing);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (renameat(landing->dir, landing->hidden, landing->dir, landing->name) < 0)
        return -errno;
    free(TAKE_PTR(landing->hidden));
    return 0;
}

void landing_done(struct landing *landing)
{
    if (landing->hidden && landing->dir >= 0)
        unlinkat(landing->dir, landing->hidden, 0);
    fd_closep(&landing->fd);
    fd_closep(&landing->dir);
    free(landing->name);
    free(landing->hidden);
    *landing = (struct landing){.fd = -1, .dir = -1};
}
