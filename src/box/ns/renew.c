/* SPDX-License-Identifier: Apache-2.0 */
/* Replaces the agent of a sandbox that runs by the one in this program (agent/handover.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "box/ns/host-internal.h"
#include "box/ns/inside.h"

enum { HEAD = 4096 }; /* the linker puts the build's id into the first page */

static int read_head(const char *path, char head[HEAD])
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    ssize_t n = fd_read_all(fd, head, HEAD);
    return n < 0 ? (int)n : n == HEAD ? 0 : -EINVAL;
}

/* Whether its agent comes from another build. */
static int is_other(const struct box_host *host, const struct box *box)
{
    char path[40], head[HEAD];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)box->pid, BOX_PROGRAM_FD);
    int rc = read_head(path, head);
    if (rc == -ENOENT) {
        snprintf(path, sizeof path, "/proc/%d/exe", (int)box->pid);
        rc = read_head(path, head);
    }
    if (rc < 0)
        return rc;
    return host->options.image_size < HEAD || memcmp(head, host->options.image, HEAD) != 0;
}

/* init's own descriptor for us; from inside nobody can take it. */
static int open_control(const struct box *box)
{
    int fd = (int)syscall(SYS_pidfd_getfd, box->pidfd, BOX_CONTROL_FD, 0);
    return fd < 0 ? -errno : fd;
}

int box_renew_agent(struct box_host *host, struct box *box, struct err *err)
{
    int rc = box->state == BOX_RUNNING ? is_other(host, box) : 0;
    if (rc < 0)
        return err_os(err, -rc, "look at the agent of %s", box->id);
    if (rc == 0)
        return 0;
    _cleanup_close_ int control = open_control(box);
    if (control < 0)
        return err_os(err, -control, "reach the init of %s", box->id);
    fcntl(control, F_SETFL, O_RDWR | O_NONBLOCK);
    rc = fd_send(control, "p", 1, &host->image_fd, 1);
    return rc < 0 ? err_os(err, -rc, "send the init of %s an agent", box->id) : 1;
}
