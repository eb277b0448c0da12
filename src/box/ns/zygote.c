/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the zygote and talking to it. */
#include "box/ns/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

static int memory_file(const char *name, unsigned flags, const void *p, size_t size)
{
    flags |= MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create(name, flags);
    /* Kernels before 6.3 do not know MFD_EXEC, and make all of them executable. */
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, flags & ~MFD_EXEC);
    if (fd < 0)
        return -errno;
    int rc = fd_write_all(fd, p, size);
    if (rc == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        rc = -errno;
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

int zygote_load_image(const void *image, size_t size)
{
    int fd = memory_file("carrel-init", MFD_EXEC, image, size);
    /* Whoever becomes it inside a sandbox, where it belongs to nobody, cannot read it: so no more can
     * others in there look into him than into what the zygote has forked. */
    if (fd >= 0)
        fchmod(fd, 0711);
    return fd;
}

int zygote_load_filter(const struct seccomp_filter *filter)
{
    return memory_file("carrel-filter", 0, filter->code, filter->count * sizeof *filter->code);
}

/* In the child, beside other threads of the parent: plain system calls only. */
_Noreturn static void become_zygote(int image, int sock, int filter, bool keep_stderr)
{
    static char *const environment[] = {NULL};
    static char name[] = "carrel-init", option[] = "keep-stderr";
    static char *const quiet[] = {name, NULL};
    static char *const loud[] = {name, option, NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A session of its own: what is typed at the launcher's terminal is not for sandboxes. */
    setsid();
    enum { LOW = 10 };
    image = fcntl(image, F_DUPFD_CLOEXEC, LOW);
    sock = fcntl(sock, F_DUPFD_CLOEXEC, LOW);
    filter = fcntl(filter, F_DUPFD_CLOEXEC, LOW);
    if (image >= 0 && dup2(sock, 3) == 3 && dup2(filter, 4) == 4 &&
        syscall(SYS_close_range, 5, image - 1, 0) == 0 &&
        syscall(SYS_close_range, image + 1, ~0U, 0) == 0)
        syscall(SYS_execveat, image, "", keep_stderr ? loud : quiet, environment, AT_EMPTY_PATH);
    _exit(127);
}

int zygote_start(int image_fd, int filter_fd, const int *joins, size_t join_count, bool keep_stderr,
                 struct zygote *ret, struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_os(err, errno, "zygote: socket pair");
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    /* Room for the largest request whatever the host's default is. */
    const int room = 2 * (BOX_CONFIG_MAX + (int)sizeof(struct box_inside));
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < join_count; i++)
            if (write(joins[i], "0", 1) != 1)
                _exit(127);
        become_zygote(image_fd, pair[1], filter_fd, keep_stderr);
    }
    close(pair[1]);
    if (pid < 0) {
        int rc = err_os(err, errno, "zygote: fork");
        close(pair[0]);
        return rc;
    }
    *ret = (struct zygote){.pid = pid, .sock = pair[0]};
    return 0;
}

void zygote_stop(struct zygote *zygote)
{
    if (zygote->sock < 0)
        return;
    fd_closep(&zygote->sock);
    kill(zygote->pid, SIGKILL);
    while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

int zygote_ask(const struct zygote *zygote, const struct box_inside *inside,
               const int handles[BOX_HANDLES], const char *config, struct err *err)
{
    if (zygote->sock < 0)
        return err_set(err, ERR_UNAVAILABLE, 0, "zygote is not running");
    int fds[BOX_HANDLES];
    size_t count = 0;
    size_t size = sizeof *inside + inside->config_len;
    _cleanup_free_ struct box_inside *message = xmalloc(size);
    *message = *inside;
    message->handles = 0;
    for (int h = 0; h < BOX_HANDLES; h++) {
        if (handles[h] >= 0) {
            message->handles |= 1U << h;
            fds[count++] = handles[h];
        }
    }
    memcpy(message + 1, config, inside->config_len);
    int rc;
    while ((rc = fd_send(zygote->sock, message, size, fds, count)) == -EAGAIN) {
        /* It takes a request every 0.2 ms; one that does not for seconds is stuck. */
        struct pollfd poll_fd = {.fd = zygote->sock, .events = POLLOUT};
        if (poll(&poll_fd, 1, 5000) == 0)
            break;
    }
    return rc < 0 ? err_set(err, ERR_UNAVAILABLE, -rc, "zygote: send") : 0;
}

int zygote_answer(const struct zygote *zygote, struct box_born *ret, int *ret_pidfd)
{
    int fd = -1;
    size_t count = 1;
    ssize_t n = fd_receive(zygote->sock, ret, sizeof *ret, &fd, &count);
    if (n == -EAGAIN)
        return 0;
    if (n == 0)
        return -ECONNRESET;
    if (n != (ssize_t)sizeof *ret) {
        if (count)
            close(fd);
        return n < 0 ? (int)n : -EPROTO;
    }
    *ret_pidfd = count ? fd : -1;
    return 1;
}
