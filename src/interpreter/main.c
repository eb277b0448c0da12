/* SPDX-License-Identifier: Apache-2.0 */
/* carrel-interpreter: the code interpreter's service, a process of the sandbox on port 49999. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "http/server.h"
#include "interpreter/child.h"
#include "interpreter/context.h"
#include "interpreter/death.h"
#include "interpreter/jupyter.h"
#include "interpreter/paths.h"
#include "interpreter/routes.h"

enum { PORT = 49999, BACKLOG = 1024, EXIT_FAILED = 70 };

static int listen_on(uint16_t port)
{
    int yes = 1, no = 0;
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool six = fd >= 0;
    if (!six)
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (six)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    int rc = six ? bind(fd, (struct sockaddr *)&any6, sizeof any6)
                 : bind(fd, (struct sockaddr *)&any4, sizeof any4);
    if (rc < 0 || listen(fd, BACKLOG) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

/* One service at a time: a second one, started because the first was believed dead, waits here until
 * it is. The lock is held until the process ends; no kernel inherits it. */
static int take_turn(void)
{
    if (mkdir(PATH_RUN, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = open(PATH_RUN "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int fail(const char *what, int rc)
{
    log_error(what, "error=\"%s\"", uv_strerror(rc));
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    struct http_server *server;
    uint64_t port = PORT;
    log_setup("carrel-interpreter", LOG_INFO);
    if (argc > 2 && strcmp(argv[1], "--port") == 0 &&
        str_to_u64(str_from(argv[2]), 65535, &port) < 0)
        return fail("bad port", -EINVAL);
    int rc = take_turn();
    if (rc < 0)
        return fail("cannot take the lock", rc);
    int fd = listen_on((uint16_t)port);
    if (fd < 0)
        return fail("cannot listen", fd);
    death_setup(STDIN_FILENO);
    uv_loop_init(&loop);
    loop.data = NULL; /* of the http module */
    if ((rc = child_setup(&loop)) < 0 || (rc = jupyter_setup()) < 0)
        return fail("cannot start", rc);
    const struct http_server_options options = {
        .handler = routes_handle,
        .arg = contexts_new(&loop),
        .idle_ns = 700 * CLOCK_S,
        .head_ns = 30 * CLOCK_S,
    };
    rc = http_server_open(&loop, fd, &options, &server);
    if (rc < 0)
        return fail("cannot serve", rc);
    uv_run(&loop, UV_RUN_DEFAULT);
    return EXIT_FAILED;
}
