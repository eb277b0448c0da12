/* SPDX-License-Identifier: Apache-2.0 */
/* spawn: real processes, as the user who runs the test. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/spawn.h"
#include "base/fd.h"
#include "base/mem.h"

static char name[] = "tester";
static char home[] = "/";
static gid_t groups[1];
static struct passwd_user self = {.name = name, .home = home, .groups = groups, .group_count = 1};
static char *environment[] = {(char *)"PATH=/usr/bin:/bin", (char *)"A=1", NULL};

/* Reads a descriptor of the agent's to its end; it does not block, so it is waited for. */
static size_t read_all(int fd, char *out, size_t size)
{
    size_t n = 0;
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        assert_int_equal(poll(&p, 1, 20000), 1);
        ssize_t got = read(fd, out + n, size - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    out[n] = '\0';
    return n;
}

static int wait_for(struct spawned *s)
{
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED), 0);
    assert_int_equal(info.si_pid, s->pid);
    close(s->pidfd);
    fd_closep(&s->in);
    fd_closep(&s->out);
    fd_closep(&s->err);
    return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

static struct spawn_request request(char *const *argv)
{
    self.uid = geteuid();
    self.gid = groups[0] = getegid();
    return (struct spawn_request){.argv = argv, .envp = environment, .cwd = "/", .user = &self};
}

static void pipes_and_status(void **state)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"cat; echo $A$$ >&2; exit 3", NULL};
    struct spawn_request r = request(argv);
    struct spawned s;
    struct err err;
    char text[100], expected[32];
    r.stdin_open = true;
    assert_int_equal(spawn_process(&r, &s, &err), 0);
    assert_int_equal(s.exec_errno, 0);
    assert_int_equal(write(s.in, "hello", 5), 5);
    fd_closep(&s.in);
    read_all(s.out, text, sizeof text - 1);
    assert_string_equal(text, "hello");
    read_all(s.err, text, sizeof text - 1);
    snprintf(expected, sizeof expected, "1%d\n", (int)s.pid);
    assert_string_equal(text, expected);
    assert_int_equal(wait_for(&s), 3);
}

static void what_cannot_be_executed(void **state)
{
    static const struct {
        const char *command;
        int os, status;
        const char *text;
    } cases[] = {
        {"no-such-command", ENOENT, 127, "sh: exec: no-such-command: not found\n"},
        {"/no/such", ENOENT, 127, "sh: exec: /no/such: not found\n"},
        {"/etc/passwd", EACCES, 126, "sh: exec: /etc/passwd: Permission denied\n"},
        {"/", EACCES, 126, "sh: exec: /: Permission denied\n"},
        {"", ENOENT, 127, "sh: exec: : not found\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *argv[] = {(char *)cases[i].command, NULL}, text[400];
        struct spawn_request r = request(argv);
        struct spawned s;
        struct err err;
        assert_int_equal(spawn_process(&r, &s, &err), 0);
        assert_int_equal(s.exec_errno, cases[i].os);
        spawn_exec_text(s.exec_errno, argv[0], text, sizeof text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(wait_for(&s), cases[i].status);
    }
}

static void a_directory_that_is_not_there(void **state)
{
    char *argv[] = {(char *)"true", NULL};
    struct spawn_request r = request(argv);
    struct spawned s;
    struct err err;
    r.cwd = "/no/such";
    assert_true(spawn_process(&r, &s, &err) < 0);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left to reap */
    assert_int_equal(errno, ECHILD);
}

static void a_terminal(void **state)
{
    char *argv[] = {(char *)"sh", (char *)"-c",
                    (char *)"test -t 0 && test -t 1 && test -t 2 && stty size", NULL};
    struct spawn_request r = request(argv);
    struct spawned s;
    struct err err;
    char text[100];
    r.pty = true;
    r.cols = 132;
    r.rows = 43;
    if (access("/dev/ptmx", R_OK | W_OK) < 0)
        skip();
    assert_int_equal(spawn_process(&r, &s, &err), 0);
    assert_int_equal(s.err, -1);
    read_all(s.out, text, sizeof text - 1);
    assert_string_equal(text, "43 132\r\n");
    assert_int_equal(wait_for(&s), 0);
}

static void nothing_else_is_inherited(void **state)
{
    char *argv[] = {(char *)"sh", (char *)"-c",
                    (char *)"ls /proc/self/fd | tr '\\n' ' '; grep -c 'Sig[BI][lg][kn]:.0*$' "
                            "/proc/self/status",
                    NULL};
    int leak = open("/dev/null", O_RDONLY); /* without close-on-exec, as a careless library would */
    struct spawn_request r = request(argv);
    struct spawned s;
    struct err err;
    char text[100];
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    assert_int_equal(spawn_process(&r, &s, &err), 0);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    read_all(s.out, text, sizeof text - 1);
    assert_string_equal(text, "0 1 2 3 2\n"); /* 3 is the directory that ls reads */
    assert_int_equal(wait_for(&s), 0);
    close(leak);
}

static void with_our_own_standard_descriptors_closed(void **state)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"cat; echo err >&2", NULL};
    struct spawn_request r = request(argv);
    struct spawned s;
    struct err err;
    char out[100], text[100];
    int saved[3];
    for (int i = 0; i < 3; i++) {
        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 50);
        close(i);
    }
    r.stdin_open = true;
    int rc = spawn_process(&r, &s, &err);
    if (rc == 0 && write(s.in, "x", 1) == 1) {
        fd_closep(&s.in);
        read_all(s.out, out, sizeof out - 1);
        read_all(s.err, text, sizeof text - 1);
        wait_for(&s);
    }
    for (int i = 0; i < 3; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    assert_int_equal(rc, 0);
    assert_string_equal(out, "x");
    assert_string_equal(text, "err\n");
}

static void too_many_arguments(void **state)
{
    enum { LONG = 200000 };
    char *big = xmalloc(LONG + 1);
    memset(big, 'x', LONG);
    big[LONG] = '\0';
    char *argv[] = {(char *)"true", big, NULL};
    struct spawn_request r = request(argv);
    struct spawned s;
    struct err err;
    assert_int_equal(spawn_process(&r, &s, &err), 0);
    assert_int_equal(s.exec_errno, E2BIG);
    assert_int_equal(wait_for(&s), 126);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipes_and_status),
        cmocka_unit_test(what_cannot_be_executed),
        cmocka_unit_test(a_directory_that_is_not_there),
        cmocka_unit_test(a_terminal),
        cmocka_unit_test(nothing_else_is_inherited),
        cmocka_unit_test(with_our_own_standard_descriptors_closed),
        cmocka_unit_test(too_many_arguments),
    };
    spawn_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
