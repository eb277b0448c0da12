/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and stopping the selftest's own server. */
#include "cli/selftest_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "box/remove.h"

enum { START_S = 60, STOP_S = 60, OUTPUT_MAX = 64 * 1024 };

/* In the child; does not return. */
static void exec_server(const struct selftest_server_options *o, const char *dir, int out,
                        pid_t parent)
{
    char memory[16], pids[16], disk[16];
    _cleanup_free_ char *state = path_join(dir, "state"), *run = path_join(dir, "run");
    _cleanup_free_ char *log = path_join(dir, "log");
    snprintf(memory, sizeof memory, "%u", o->memory_mb);
    snprintf(pids, sizeof pids, "%u", o->pids);
    snprintf(disk, sizeof disk, "%u", o->disk_mb);
    const char *argv[32] = {"carrel",  "serve",  "--ephemeral", "--listen",  "127.0.0.1:0",
                            "--state", state,    "--run",       run,         "--memory-mb",
                            memory,    "--pids", pids,          "--disk-mb", disk,
                            "--cpus",  o->cpus};
    size_t n = 17;
    if (o->templates_dir) {
        argv[n++] = "--templates";
        argv[n++] = o->templates_dir;
    }
    if (o->weaken) {
        argv[n++] = "--weaken";
        argv[n++] = o->weaken;
    }
    int null = open("/dev/null", O_RDONLY);
    int errors = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (null < 0 || errors < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(errors, 2) < 0)
        _exit(71);
    /* Its own session, so that a Ctrl-C at our terminal leaves the order of the end to us; and when
     * that ends us, it ends in order by itself. */
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(71);
    execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    _exit(71);
}

/* "export NAME=value" */
static void take_export(struct selftest_server *s, struct str line)
{
    struct str rest = line, word, name;
    if (!str_split(&rest, ' ', &word) || !str_eqz(word, "export") ||
        !str_split(&rest, '=', &name) || !rest.p)
        return;
    if (str_eqz(name, "E2B_API_URL"))
        snprintf(s->url, sizeof s->url, "%.*s", STR_ARG(rest));
    else if (str_eqz(name, "E2B_API_KEY"))
        snprintf(s->key, sizeof s->key, "%.*s", STR_ARG(rest));
}

/* The last lines of the log, to say why it did not start. */
static void print_log(const char *dir)
{
    _cleanup_free_ char *path = path_join(dir, "log"), *text = NULL;
    if (fd_read_file(AT_FDCWD, path, 1 << 20, &text, NULL) == 0)
        fputs(text, stderr);
}

static int read_exports(struct selftest_server *s, int fd, struct err *err)
{
    _cleanup_(buf_done) struct buf text;
    int64_t until = clock_mono_ns() + START_S * CLOCK_S;
    buf_init(&text, OUTPUT_MAX);
    while (!s->url[0] || !s->key[0]) {
        struct pollfd p = {fd, POLLIN, 0};
        int64_t left = (until - clock_mono_ns()) / CLOCK_MS;
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            return err_set(err, ERR_TIMEOUT, 0, "the server does not start in %d s", START_S);
        char *room = buf_reserve(&text, 4096);
        ssize_t n = room ? read(fd, room, 4096) : 0;
        if (n <= 0)
            return err_set(err, ERR_UNAVAILABLE, 0, "the server ended before it served");
        buf_added(&text, (size_t)n);
        struct str rest = buf_str(&text), line;
        while (str_split(&rest, '\n', &line) && rest.p)
            take_export(s, line);
    }
    return 0;
}

int selftest_server_start(const struct selftest_server_options *options,
                          struct selftest_server *ret, struct err *err)
{
    int pipe_fds[2];
    *ret = (struct selftest_server){.dir = "/tmp/carrel-selftest-XXXXXX"};
    if (!mkdtemp(ret->dir))
        return err_os(err, errno, "make a directory in /tmp");
    /* The server gives up root and must get to its own part. */
    if (chmod(ret->dir, 0755) < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        return err_os(err, errno, "prepare %s", ret->dir);
    pid_t parent = getpid();
    ret->pid = fork();
    if (ret->pid == 0)
        exec_server(options, ret->dir, pipe_fds[1], parent);
    close(pipe_fds[1]);
    _cleanup_close_ int out = pipe_fds[0];
    if (ret->pid < 0)
        return err_os(err, errno, "fork");
    int rc = read_exports(ret, out, err);
    if (rc < 0) {
        print_log(ret->dir);
        selftest_server_stop(ret, NULL);
    }
    return rc;
}

static int wait_for_end(pid_t pid, int *ret_status, struct err *err)
{
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {pidfd, POLLIN, 0};
    int rc = 0;
    if (pidfd >= 0 && poll(&p, 1, STOP_S * 1000) <= 0) {
        rc = err_set(err, ERR_TIMEOUT, 0, "the server does not stop in %d s", STOP_S);
        kill(pid, SIGKILL);
    }
    while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
        continue;
    return rc;
}

int selftest_server_stop(struct selftest_server *server, struct err *err)
{
    int status = 0, rc = 0;
    if (server->pid > 0) {
        kill(server->pid, SIGTERM);
        rc = wait_for_end(server->pid, &status, err);
    }
    server->pid = 0;
    _cleanup_close_ int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int removed = server->dir[0] ? remove_tree(tmp, server->dir + strlen("/tmp/")) : 0;
    if (rc == 0 && removed < 0)
        rc = err_os(err, -removed, "remove %s", server->dir);
    if (rc < 0)
        return rc;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
