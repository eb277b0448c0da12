/* SPDX-License-Identifier: Apache-2.0 */
/* Supervision of launcher and server. */
#include "server/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "server/handover.h"
#include "server/identity.h"
#include "server/notify.h"
#include "server/server.h"

enum {
    BACKLOG = 4096,
    BIND_TRIES = 50, /* of 100 ms: a predecessor may be about to let go of the address */
    PAUSE_MIN_MS = 10,
    PAUSE_MAX_MS = 5000,
    LAUNCHER_STOP_S = 15,
    SERVER_STOP_SPARE_S = 5,
    EPHEMERAL_STOP_S = 35,
    HANDOVER_STOP_S = 10,
    LOCK_TRIES = 50, /* of 20 ms: a predecessor that hands over is about to let go */
};
#define STEADY (5 * CLOCK_S) /* who lived this long may come back at once */

struct child {
    const char *name;
    pid_t pid;        /* 0: not running */
    int64_t started;  /* monotonic */
    int64_t restart;  /* when to start it again, 0: running or not wanted */
    int64_t pause_ms; /* before the next start */
};

struct supervisor {
    const struct config *config;
    supervisor_launcher_fn *launcher_main;
    supervisor_egress_fn *egress_main;
    uid_t uid;
    gid_t gid;
    int lock_fd;
    int tcp_fd;
    int launcher_fd;
    int egress_fd;
    int signal_fd;
    int control_fd;   /* a successor asks here */
    int successor_fd; /* it waits here for our end; -1: none */
    int ready_fd;   /* read end of the pipe on which a server says that it serves; -1: none */
    bool was_ready; /* a server has served */
    bool again;     /* end, and execute the program anew */
    struct child launcher;
    struct child egress;
    struct child server;
    char *url_path;
    char *socket_path;
    char *egress_path;
    char program[512]; /* that this process executes; what is there now may be a newer one */
};

/* ---- set-up ---- */

static int make_dir(const char *path, mode_t mode, struct err *err)
{
    int rc = path_make_dirs(path, mode);
    return rc < 0 ? err_os(err, -rc, "make directory %s", path) : 0;
}

/* The server's own directory. Nothing in it is touched by root: its content is the server's. */
static int make_server_dir(struct supervisor *s, struct err *err)
{
    _cleanup_free_ char *path = server_state_dir(s->config);
    struct stat st;
    if (mkdir(path, 0700) == 0) {
        if (lchown(path, s->uid, s->gid) < 0)
            return err_os(err, errno, "give %s to uid %u", path, s->uid);
        return 0;
    }
    if (errno != EEXIST || lstat(path, &st) < 0)
        return err_os(err, errno, "make directory %s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_PRECONDITION, 0, "%s is not a directory", path);
    if (st.st_uid != s->uid)
        return err_set(err, ERR_PRECONDITION, 0,
                       "%s belongs to uid %u, but the server runs as uid %u: chown -R it, or use "
                       "--user",
                       path, st.st_uid, s->uid);
    return 0;
}

/* The default directory for templates is there from the start, if empty; one that was asked for by
 * name is not made, since it would hide a mistake. */
static int make_templates_dir(struct supervisor *s, struct err *err)
{
    _cleanup_free_ char *path = path_join(s->config->state, "templates");
    return strcmp(path, s->config->templates) == 0 ? make_dir(path, 0755, err) : 0;
}

static int try_lock(struct supervisor *s, int tries)
{
    for (int i = 0; flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (i >= tries)
            return -EBUSY;
        poll(NULL, 0, 20);
    }
    return 0;
}

static int take_lock(struct supervisor *s, struct err *err)
{
    _cleanup_free_ char *path = path_join(s->config->run, "lock");
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0)
        return err_os(err, errno, "open %s", path);
    if (try_lock(s, 0) == 0)
        return 0;
    if (s->config->replace) {
        int rc = handover_take(s->config->run, &s->tcp_fd, err);
        if (rc < 0)
            return rc;
        if (try_lock(s, LOCK_TRIES) == 0)
            return 0;
    }
    return err_set(err, ERR_CONFLICT, 0, "another carrel serves from %s (--replace takes its place)",
                   s->config->run);
}

static int bind_tcp(struct supervisor *s, struct err *err)
{
    char host[256], port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    int rc = config_split_listen(s->config->listen, host, port, err);
    if (rc < 0)
        return rc;
    int why = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (why != 0)
        return err_set(err, ERR_INVALID, 0, "listen: %s: %s", s->config->listen, gai_strerror(why));
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    rc = fd < 0 ? -errno : -EADDRINUSE;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    for (int i = 0; rc == -EADDRINUSE && i < BIND_TRIES; i++) {
        if (i > 0)
            poll(NULL, 0, 100);
        rc =
            bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
    }
    freeaddrinfo(found);
    s->tcp_fd = fd; /* closed at the end in any case */
    return rc < 0 ? err_os(err, -rc, "listen on %s", s->config->listen) : 0;
}

/* The socket may have come from a predecessor or from the service manager. */
static int find_tcp(struct supervisor *s, struct err *err)
{
    int rc = s->tcp_fd < 0 ? handover_inherit(&s->tcp_fd, err) : 1;
    return rc == 0 ? bind_tcp(s, err) : rc < 0 ? rc : 0;
}

/* A socket between processes of ours: its group may connect, besides root. */
static int bind_local(const char *path, gid_t gid, int *ret, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, ERR_INVALID, 0, "%s: path too long for a socket", path);
    memcpy(address.sun_path, path, strlen(path));
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0117);
    int rc = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
                     lchown(path, 0, gid) < 0 || listen(fd, 16) < 0
                 ? err_os(err, errno, "bind %s", path)
                 : 0;
    umask(old);
    *ret = fd;
    return rc;
}

static int bind_locals(struct supervisor *s, struct err *err)
{
    s->socket_path = path_join(s->config->run, "launcher.sock");
    s->egress_path = path_join(s->config->run, "egress.sock");
    int rc = bind_local(s->socket_path, s->gid, &s->launcher_fd, err);
    return rc < 0 ? rc : bind_local(s->egress_path, 0, &s->egress_fd, err);
}

/* For `carrel env`, which has no other way to know a port that was chosen. */
static int write_url(struct supervisor *s, struct err *err)
{
    char url[300];
    s->url_path = path_join(s->config->run, "url");
    int rc = server_url(s->tcp_fd, url, sizeof url - 1);
    if (rc == 0) {
        size_t n = strlen(url);
        url[n] = '\n';
        rc = fd_replace_file(AT_FDCWD, s->url_path, url, n + 1, 0644);
    }
    return rc < 0 ? err_os(err, -rc, "write %s", s->url_path) : 0;
}

static int set_up(struct supervisor *s, struct err *err)
{
    int rc;
    if (geteuid() != 0)
        return err_set(err, ERR_DENIED, 0, "carrel serve needs root, to make sandboxes");
    if ((rc = identity_find(s->config->user, &s->uid, &s->gid, err)) < 0 ||
        (rc = make_dir(s->config->state, 0755, err)) < 0 || (rc = make_templates_dir(s, err)) < 0 ||
        (rc = make_dir(s->config->run, 0755, err)) < 0 || (rc = take_lock(s, err)) < 0 ||
        (rc = make_server_dir(s, err)) < 0 || (rc = find_tcp(s, err)) < 0 ||
        (rc = bind_locals(s, err)) < 0 ||
        (rc = handover_listen(s->config->run, &s->control_fd, err)) < 0)
        return rc;
    return write_url(s, err);
}

/* ---- children ---- */

/* In the child: only what it needs stays open, as descriptors 3 and up. */
static void keep_only(int *fds, int count)
{
    int high[2];
    for (int i = 0; i < count; i++)
        high[i] = fcntl(fds[i], F_DUPFD, 64);
    for (int i = 0; i < count; i++)
        fds[i] = dup3(high[i], 3 + i, O_CLOEXEC);
    close_range(3 + (unsigned)count, ~0U, 0);
}

static void child_begin(pid_t parent)
{
    sigset_t none;
    setpgid(0, 0); /* Ctrl-C is the supervisor's, who stops us in order */
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
}

static void run_launcher(struct supervisor *s, pid_t parent)
{
    int fds[] = {s->launcher_fd};
    child_begin(parent);
    prctl(PR_SET_NAME, "carrel-launcher");
    keep_only(fds, 1);
    struct supervisor_launcher start = {
        .config = s->config,
        .listen_fd = fds[0],
        .uid = s->uid,
        .gid = s->gid,
        .egress_path = s->egress_path,
        .egress_uid = CONFIG_EGRESS_UID,
    };
    exit(s->launcher_main(&start));
}

static void run_egress(struct supervisor *s, pid_t parent)
{
    int fds[] = {s->egress_fd};
    struct err err;
    child_begin(parent);
    prctl(PR_SET_NAME, "carrel-egress");
    keep_only(fds, 1);
    if (identity_drop(CONFIG_EGRESS_UID, CONFIG_EGRESS_UID, &err) < 0) {
        log_error("egress relay not started", "error=\"%s\"", err.message);
        exit(err_exit_status(err.code));
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    exit(s->egress_main(s->config, fds[0]));
}

static void run_server(struct supervisor *s, pid_t parent, int ready_fd)
{
    int fds[] = {s->tcp_fd, ready_fd};
    struct err err;
    child_begin(parent);
    prctl(PR_SET_NAME, "carrel-server");
    keep_only(fds, ready_fd >= 0 ? 2 : 1);
    if (identity_drop(s->uid, s->gid, &err) < 0) {
        log_error("server not started", "error=\"%s\"", err.message);
        exit(err_exit_status(err.code));
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* the change of user has cleared it */
    struct server_start start = {
        .listen_fd = fds[0],
        .ready_fd = ready_fd >= 0 ? fds[1] : -1,
        .announce = ready_fd >= 0,
    };
    exit(server_main(s->config, &start));
}

static void started(struct child *child, pid_t pid)
{
    child->started = clock_mono_ns();
    child->restart = 0;
    child->pid = pid > 0 ? pid : 0;
    if (pid < 0) {
        log_error("fork failed", "child=%s error=\"%s\"", child->name, strerror(errno));
        child->restart = child->started + PAUSE_MAX_MS * CLOCK_MS;
    }
}

static void start_launcher(struct supervisor *s)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        run_launcher(s, parent);
    started(&s->launcher, pid);
}

static void start_egress(struct supervisor *s)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        run_egress(s, parent);
    started(&s->egress, pid);
}

/* Until one has served, a server is asked to say so; those after it are restarts of something that
 * worked. */
static void start_server(struct supervisor *s)
{
    int ends[2] = {-1, -1};
    if (!s->was_ready && pipe2(ends, O_CLOEXEC) < 0)
        log_error("pipe failed", "error=\"%s\"", strerror(errno));
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        run_server(s, parent, ends[1]);
    fd_closep(&ends[1]);
    fd_closep(&s->ready_fd);
    s->ready_fd = ends[0];
    started(&s->server, pid);
}

static void log_death(const struct child *child, int status)
{
    if (WIFSIGNALED(status))
        log_error("process died", "name=%s pid=%d signal=%d", child->name, child->pid,
                  WTERMSIG(status));
    else
        log_error("process ended", "name=%s pid=%d status=%d", child->name, child->pid,
                  WEXITSTATUS(status));
}

/* A child has died that should live: when to start it again. */
static void plan_restart(struct child *child)
{
    int64_t now = clock_mono_ns();
    if (now - child->started > STEADY || child->pause_ms == 0)
        child->pause_ms = PAUSE_MIN_MS;
    else
        child->pause_ms = child->pause_ms * 2 < PAUSE_MAX_MS ? child->pause_ms * 2 : PAUSE_MAX_MS;
    child->restart = now + child->pause_ms * CLOCK_MS;
}

/* Collects the dead. Returns -1 to go on, or the status to give up with: before the first server
 * was ready, a child's orderly exit is a complaint about configuration or host, not an accident. */
static int reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *child = pid == s->server.pid     ? &s->server
                              : pid == s->launcher.pid ? &s->launcher
                              : pid == s->egress.pid   ? &s->egress
                                                       : NULL;
        if (!child)
            continue;
        log_death(child, status);
        child->pid = 0;
        if (!s->was_ready && WIFEXITED(status))
            return WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
        plan_restart(child);
    }
    return -1;
}

/* Ends one child and waits for it; SIGKILL after the given time. */
static void stop_by(struct supervisor *s, struct child *child, int number, int64_t seconds)
{
    int64_t deadline = clock_mono_ns() + seconds * CLOCK_S;
    bool killed = false;
    if (child->pid == 0)
        return;
    kill(child->pid, number);
    while (waitpid(child->pid, NULL, WNOHANG) == 0) {
        struct signalfd_siginfo info;
        struct pollfd wait = {.fd = s->signal_fd, .events = POLLIN};
        int64_t left = deadline - clock_mono_ns();
        if (left <= 0 && !killed) {
            log_warning("process does not stop", "name=%s", child->name);
            kill(child->pid, SIGKILL);
            killed = true;
        }
        poll(&wait, 1, left > 0 ? (int)(left / CLOCK_MS) + 1 : 1000);
        if (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info &&
            info.ssi_signo != SIGCHLD && !killed)
            kill(child->pid, SIGTERM); /* asked again: at once */
    }
    child->pid = 0;
}

static void stop(struct supervisor *s, struct child *child, int64_t seconds)
{
    stop_by(s, child, SIGTERM, seconds);
}

/* Somebody else goes on at once, with the sandboxes as they are and on the same socket: connections
 * that come meanwhile wait in it. */
static void stop_for_successor(struct supervisor *s)
{
    stop_by(s, &s->server, SIGUSR2, HANDOVER_STOP_S);
    stop(s, &s->launcher, LAUNCHER_STOP_S);
    stop(s, &s->egress, LAUNCHER_STOP_S);
}

static void execute_again(struct supervisor *s)
{
    size_t len;
    _cleanup_free_ char *text = NULL;
    char *argv[128];
    size_t argc = 0;
    if (fd_read_file(AT_FDCWD, "/proc/self/cmdline", 64 * 1024, &text, &len) < 0)
        return;
    for (char *p = text; p < text + len && argc + 1 < ARRAY_SIZE(argv); p += strlen(p) + 1)
        argv[argc++] = p;
    argv[argc] = NULL;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int rc = handover_bequeath(s->tcp_fd);
    if (rc == 0)
        execv(s->program, argv);
    log_error("program not replaced", "program=%s error=\"%s\"", s->program,
              strerror(rc < 0 ? -rc : errno));
}

static void stop_all(struct supervisor *s)
{
    if (s->again || s->successor_fd >= 0) {
        stop_for_successor(s);
        return;
    }
    notify_stopping();
    int64_t patience = (int64_t)s->config->stop_timeout + SERVER_STOP_SPARE_S;
    if (s->config->ephemeral && patience < EPHEMERAL_STOP_S)
        patience = EPHEMERAL_STOP_S;
    stop(s, &s->server, patience);
    stop(s, &s->launcher, s->config->ephemeral ? EPHEMERAL_STOP_S : LAUNCHER_STOP_S);
    stop(s, &s->egress, LAUNCHER_STOP_S);
    unlink(s->url_path);
    unlink(s->socket_path);
    unlink(s->egress_path);
    _cleanup_free_ char *control = path_join(s->config->run, "control.sock");
    unlink(control);
}

/* ---- loop ---- */

static int until_next(const struct supervisor *s)
{
    const struct child *children[] = {&s->launcher, &s->egress, &s->server};
    int64_t next = 0;
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        if (children[i]->restart && (next == 0 || children[i]->restart < next))
            next = children[i]->restart;
    if (next == 0)
        return -1;
    int64_t left = next - clock_mono_ns();
    return left > 0 ? (int)(left / CLOCK_MS) + 1 : 0;
}

static void restart_due(struct supervisor *s)
{
    int64_t now = clock_mono_ns();
    if (s->launcher.restart && s->launcher.restart <= now)
        start_launcher(s);
    if (s->egress.restart && s->egress.restart <= now)
        start_egress(s);
    if (s->server.restart && s->server.restart <= now)
        start_server(s);
}

/* Asked to execute the program anew: not for one that is not there. */
static bool may_go_on_as_another(struct supervisor *s)
{
    if (access(s->program, X_OK) == 0)
        return true;
    log_error("program not replaced", "program=%s error=\"%s\"", s->program, strerror(errno));
    return false;
}

/* True when it is time to end. */
static bool take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        s->again = info.ssi_signo == SIGUSR2;
        if (!s->again || may_go_on_as_another(s)) {
            if (s->again)
                notify_reloading();
            return true;
        }
        s->again = false;
    }
    return false;
}

static int loop(struct supervisor *s)
{
    for (;;) {
        struct pollfd waits[] = {{.fd = s->signal_fd, .events = POLLIN},
                                 {.fd = s->ready_fd, .events = POLLIN},
                                 {.fd = s->control_fd, .events = POLLIN}};
        poll(waits, 3, until_next(s));
        if (waits[1].revents) { /* a byte, or the end because it died before */
            s->was_ready = waits[1].revents & POLLIN;
            fd_closep(&s->ready_fd);
            if (s->was_ready)
                notify_ready();
        }
        if (waits[2].revents && handover_give(s->control_fd, s->tcp_fd, &s->successor_fd) == 0) {
            log_info("another takes over", "successor=1");
            return 0;
        }
        if (take_signals(s))
            return 0;
        int status = reap(s);
        if (status >= 0)
            return status;
        restart_due(s);
    }
}

int supervisor_main(const struct config *config, supervisor_launcher_fn *launcher,
                    supervisor_egress_fn *egress)
{
    struct supervisor s = {
        .config = config,
        .launcher_main = launcher,
        .egress_main = egress,
        .lock_fd = -1,
        .tcp_fd = -1,
        .control_fd = -1,
        .successor_fd = -1,
        .launcher_fd = -1,
        .egress_fd = -1,
        .ready_fd = -1,
        .launcher = {.name = "launcher"},
        .egress = {.name = "egress"},
        .server = {.name = "server"},
    };
    struct err err;
    sigset_t signals;
    int status;

    log_setup("supervisor", config->log_level);
    umask(022);
    if (readlink("/proc/self/exe", s.program, sizeof s.program - 1) < 0)
        s.program[0] = '\0';
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR2);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    s.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    /* Sandboxes that outlive the zygote they come from are ours to reap then: the first process of
     * a host, of a container even more so, may take its time or never do it. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (set_up(&s, &err) < 0) {
        fprintf(stderr, "carrel serve: %s\n", err.message);
        status = err_exit_status(err.code);
    } else {
        start_egress(&s);
        start_launcher(&s);
        start_server(&s);
        status = loop(&s);
        stop_all(&s);
        if (s.again)
            execute_again(&s);
    }
    fd_closep(&s.control_fd);
    fd_closep(&s.ready_fd);
    fd_closep(&s.tcp_fd);
    fd_closep(&s.launcher_fd);
    fd_closep(&s.egress_fd);
    fd_closep(&s.signal_fd);
    fd_closep(&s.lock_fd);
    fd_closep(&s.successor_fd); /* last: it may go on */
    free(s.url_path);
    free(s.socket_path);
    free(s.egress_path);
    return status;
}
