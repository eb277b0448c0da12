/* SPDX-License-Identifier: Apache-2.0 */
/* A process in a sandbox connected to this terminal. Three threads, for each may have to wait: output
 * (the caller's), input, and signals, which must get through while input waits for a program that does
 * not read. */
#include "cli/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"

enum {
    PIECE = 1 << 20,
    LEAVE_KEY = 0x1d, /* Ctrl-] */
    END_KEY = 0x04,   /* Ctrl-D: the end of input in a terminal */
    BREAKS_MAX = 3,   /* then it is left, whatever it makes of them */
    STATUS_BREAK = 130,
    STATUS_PIPE = 141,
};

struct connection {
    struct session *session;
    struct carrel_cancel *quit; /* ends the two threads and their calls */
    struct carrel_call call;    /* of theirs */
    int signals;                /* a signalfd */
    sigset_t before;
    atomic_bool left;
    struct termios saved;
    bool raw;
};

void session_size(unsigned *ret_columns, unsigned *ret_rows)
{
    struct winsize size;
    *ret_columns = 80;
    *ret_rows = 24;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
            *ret_columns = size.ws_col;
            *ret_rows = size.ws_row;
            return;
        }
}

static void leave(struct connection *c)
{
    c->left = true;
    carrel_cancel(c->session->cli->cancel);
}

/* ---- input ---- */

/* Waits for input, or for the end. */
static bool wait_input(struct connection *c, int quit_fd)
{
    struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {quit_fd, POLLIN, 0}};
    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            return false;
    return !fds[1].revents;
}

static void end_input(struct connection *c)
{
    struct carrel_process *process = c->session->process;
    const char end = END_KEY;
    if (c->session->terminal)
        carrel_process_write(process, &end, 1, &c->call, NULL);
    else
        carrel_process_close_stdin(process, &c->call, NULL);
}

static void *pass_input(void *arg)
{
    struct connection *c = arg;
    static char bytes[PIECE];
    int quit_fd = carrel_cancel_fd(c->quit);
    fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIECE); /* fewer and larger requests, if it is a pipe */
    while (wait_input(c, quit_fd)) {
        ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            end_input(c);
            break;
        }
        const char *key = c->raw ? memchr(bytes, LEAVE_KEY, (size_t)n) : NULL;
        if (key)
            n = key - bytes;
        /* It may have ended, or closed its input: its output and end tell all. */
        int rc =
            n ? carrel_process_write(c->session->process, bytes, (size_t)n, &c->call, NULL) : 0;
        if (key)
            leave(c);
        if (key || rc < 0)
            break;
    }
    return NULL;
}

/* ---- signals ---- */

static void pass_signal(struct connection *c, int number, int *breaks)
{
    struct session *s = c->session;
    if (number == SIGWINCH) {
        unsigned columns, rows;
        session_size(&columns, &rows);
        if (s->terminal)
            carrel_process_resize(s->process, columns, rows, &c->call, NULL);
        return;
    }
    if (s->break_leaves && (number == SIGINT || number == SIGTERM || number == SIGHUP)) {
        leave(c);
        return;
    }
    /* What speaks a plain E2B wire knows no more than this one. */
    if (carrel_process_signal(s->process, number, true, &c->call, NULL) == -CARREL_UNSUPPORTED)
        carrel_process_signal(s->process, SIGTERM, true, &c->call, NULL);
    if (++*breaks >= BREAKS_MAX || (s->terminal && number == SIGHUP))
        leave(c);
}

static void *pass_signals(void *arg)
{
    struct connection *c = arg;
    struct signalfd_siginfo info;
    struct pollfd fds[] = {{c->signals, POLLIN, 0}, {carrel_cancel_fd(c->quit), POLLIN, 0}};
    int breaks = 0;
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents)
            return NULL;
        if (read(c->signals, &info, sizeof info) == (ssize_t)sizeof info)
            pass_signal(c, (int)info.ssi_signo, &breaks);
    }
}

/* ---- output ---- */

static int show_output(struct connection *c, struct carrel_exit *ret)
{
    struct cli *cli = c->session->cli;
    struct carrel_output output;
    int rc;
    while ((rc = carrel_process_next(c->session->process, -1, &output, &cli->err)) == 1) {
        int fd = output.stream == CARREL_STDERR ? STDERR_FILENO : STDOUT_FILENO;
        if (output.missed)
            fprintf(stderr, "\n[%llu bytes of output are lost]\n",
                    (unsigned long long)output.missed);
        int failed = fd_write_all(fd, output.bytes, output.len);
        if (failed < 0) {
            cli->err = (struct carrel_error){.code = CARREL_LOCAL, .os_error = -failed};
            snprintf(cli->err.message, sizeof cli->err.message, "write the output: %s",
                     strerror(-failed));
            /* As a local program would learn of it. */
            carrel_process_signal(c->session->process, SIGPIPE, true, &c->call, NULL);
            return -CARREL_LOCAL;
        }
    }
    return rc < 0 ? rc : carrel_process_exit(c->session->process, ret, &cli->err);
}

/* ---- the whole ---- */

static void begin(struct connection *c)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    pthread_sigmask(SIG_BLOCK, &set, &c->before);
    c->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (c->session->terminal && c->session->input && tcgetattr(STDIN_FILENO, &c->saved) == 0) {
        struct termios raw = c->saved;
        cfmakeraw(&raw);
        c->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
    }
}

static void end(struct connection *c)
{
    if (c->raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &c->saved);
    close(c->signals);
    pthread_sigmask(SIG_SETMASK, &c->before, NULL);
}

static int judge(struct connection *c, int rc, const struct carrel_exit *how)
{
    if (rc == -CARREL_CANCELED && c->left) {
        fprintf(stderr, "[left; `carrel attach %s %u` comes back]\n",
                carrel_sandbox_id(c->session->cli->sandbox),
                carrel_process_pid(c->session->process));
        return c->raw || c->session->break_leaves ? 0 : STATUS_BREAK;
    }
    if (rc < 0)
        return rc;
    if (how->code >= 0)
        return how->code;
    if (!c->session->terminal)
        fprintf(stderr, "[%s]\n", how->status);
    return how->signal ? 128 + how->signal : 255;
}

int session_run(struct session *session)
{
    struct connection c = {.session = session};
    struct carrel_exit how = {0};
    pthread_t input, signals;
    c.quit = carrel_cancel_new(&session->cli->err);
    if (!c.quit)
        return -(int)session->cli->err.code;
    c.call = (struct carrel_call){.cancel = c.quit, .user = session->cli->call.user};
    begin(&c);
    bool has_input = session->input && pthread_create(&input, NULL, pass_input, &c) == 0;
    bool has_signals = pthread_create(&signals, NULL, pass_signals, &c) == 0;
    int rc = show_output(&c, &how);
    carrel_cancel(c.quit);
    if (has_input)
        pthread_join(input, NULL);
    if (has_signals)
        pthread_join(signals, NULL);
    end(&c);
    rc = judge(&c, rc, &how);
    carrel_cancel_free(c.quit);
    return rc;
}
