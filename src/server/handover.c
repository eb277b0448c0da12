/* SPDX-License-Identifier: Apache-2.0 */
/* Passing the listening socket on. */
#include "server/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

enum {
    INHERITED_FD = 3,  /* SD_LISTEN_FDS_START */
    WAIT_MS = 90 * 1000, /* for a predecessor to end */
};
static const char word[] = "take over";

static int address_of(const char *run, struct sockaddr_un *ret, struct err *err)
{
    _cleanup_free_ char *path = path_join(run, "control.sock");
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof ret->sun_path)
        return err_set(err, ERR_INVALID, 0, "%s: path too long for a socket", path);
    memcpy(ret->sun_path, path, strlen(path));
    return 0;
}

static bool peer_is_root(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == 0;
}

int handover_listen(const char *run, int *ret, struct err *err)
{
    struct sockaddr_un address;
    int rc = address_of(run, &address, err);
    if (rc < 0)
        return rc;
    unlink(address.sun_path);
    mode_t old = umask(0177);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4) < 0)
        rc = err_os(err, errno, "bind %s", address.sun_path);
    umask(old);
    if (rc == 0)
        *ret = TAKE_FD(fd);
    return rc;
}

int handover_give(int control_fd, int listen_fd, int *ret)
{
    char said[sizeof word];
    size_t none = 0;
    _cleanup_close_ int fd = accept4(control_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    /* It has spoken already, or it is not one of ours. */
    if (!peer_is_root(fd) || poll(&wait, 1, 1000) != 1 ||
        fd_receive(fd, said, sizeof said, NULL, &none) != (ssize_t)sizeof said ||
        memcmp(said, word, sizeof word) != 0)
        return -EPROTO;
    int rc = fd_send(fd, "", 1, &listen_fd, 1);
    if (rc == 0)
        *ret = TAKE_FD(fd);
    return rc;
}

int handover_take(const char *run, int *ret, struct err *err)
{
    struct sockaddr_un address;
    int rc = address_of(run, &address, err), fds[FD_PASS_MAX];
    size_t count = FD_PASS_MAX;
    char byte;
    if (rc < 0)
        return rc;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return errno == ENOENT || errno == ECONNREFUSED
                   ? 0
                   : err_os(err, errno, "connect to %s", address.sun_path);
    rc = peer_is_root(fd) ? fd_send(fd, word, sizeof word, NULL, 0) : -EPERM;
    if (rc < 0)
        return err_os(err, -rc, "ask at %s", address.sun_path);
    ssize_t n = fd_receive(fd, &byte, 1, fds, &count);
    if (n != 1 || count != 1) {
        for (size_t i = 0; n >= 0 && i < count; i++)
            close(fds[i]);
        return err_set(err, ERR_CONFLICT, 0, "who serves from %s does not hand its socket over", run);
    }
    _cleanup_close_ int given = fds[0];
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (poll(&wait, 1, WAIT_MS) != 1)
        return err_set(err, ERR_TIMEOUT, 0, "who serves from %s does not end", run);
    *ret = TAKE_FD(given);
    return 1;
}

int handover_inherit(int *ret, struct err *err)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    uint64_t number = 0, fds = 0;
    int listening = 0;
    socklen_t size = sizeof listening;
    bool ours = pid && count && str_to_u64(str_from(pid), INT32_MAX, &number) == 0 &&
                (pid_t)number == getpid() && str_to_u64(str_from(count), 64, &fds) == 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (!ours || fds == 0)
        return 0;
    if (fds != 1)
        return err_set(err, ERR_INVALID, 0, "LISTEN_FDS: one socket is served, not %d", (int)fds);
    if (getsockopt(INHERITED_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
        return err_set(err, ERR_INVALID, 0, "LISTEN_FDS: descriptor 3 is no listening socket");
    fcntl(INHERITED_FD, F_SETFD, FD_CLOEXEC);
    fcntl(INHERITED_FD, F_SETFL, fcntl(INHERITED_FD, F_GETFL) | O_NONBLOCK);
    *ret = INHERITED_FD;
    return 1;
}

int handover_bequeath(int listen_fd)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    if (listen_fd == INHERITED_FD ? fcntl(listen_fd, F_SETFD, 0) < 0
                                  : dup2(listen_fd, INHERITED_FD) < 0)
        return -errno;
    return setenv("LISTEN_PID", pid, 1) < 0 || setenv("LISTEN_FDS", "1", 1) < 0 ? -errno : 0;
}
