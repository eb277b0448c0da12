/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for the agent in tests of the box: takes one line a connection on the inherited socket
 * and answers with what it sees from inside. Needs nothing of the template but what it is asked to
 * run. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"

/* A child that is in the sandbox's group, as the agent's are. */
static pid_t fork_user(const struct agent_start *start)
{
    pid_t pid = fork();
    for (int i = 0; pid == 0 && !start->in_group && i < AGENT_JOINS; i++)
        if (start->join_fds[i] >= 0 && write(start->join_fds[i], "0", 1) != 1)
            _exit(125);
    return pid;
}

/* Runs a shell command as uid with its output on the connection. */
static void run_shell(int conn, unsigned uid, char *command, const struct agent_start *start)
{
    pid_t pid = fork_user(start);
    if (pid == 0) {
        static char shell[] = "/bin/sh", flag[] = "-c";
        char *const argv[] = {shell, flag, command, NULL};
        dup2(conn, 1);
        dup2(conn, 2);
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        if (uid && (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
                    setresuid(uid, uid, uid) < 0))
            _exit(126);
        execv(shell, argv);
        dprintf(1, "exec: %s\n", strerror(errno));
        _exit(127);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    dprintf(conn, "exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void list_dir(int conn, const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        dprintf(conn, "error %s\n", strerror(errno));
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            dprintf(conn, "%s\n", entry->d_name);
    closedir(dir);
}

/* Takes memory until it is refused or the process dies. */
static void eat_memory(int conn, const struct agent_start *start)
{
    pid_t pid = fork_user(start);
    if (pid == 0) {
        for (;;) {
            char *p = malloc(1 << 20);
            if (p)
                memset(p, 1, 1 << 20);
        }
    }
    int status = 0;
    waitpid(pid, &status, 0);
    dprintf(conn, "signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void count_forks(int conn)
{
    int n = 0, os = 0;
    pid_t pids[4096];
    while (n < 4096) {
        pid_t pid = fork();
        if (pid == 0) {
            pause();
            _exit(0);
        }
        if (pid < 0) {
            os = errno;
            break;
        }
        pids[n++] = pid;
    }
    for (int i = 0; i < n; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    dprintf(conn, "forks %d error %s\n", n, strerror(os));
}

static void in_child(void (*fn)(int conn), int conn, const struct agent_start *start)
{
    pid_t pid = fork_user(start);
    if (pid == 0) {
        fn(conn);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void count_inotify(int conn)
{
    int n = 0;
    while (n < 100000 && inotify_init1(IN_CLOEXEC) >= 0)
        n++;
    dprintf(conn, "inotify %d error %s\n", n, strerror(errno));
    /* Kept: the caller wants to know what is left for others. */
}

/* Appends to a file until that is refused, or there are so many MiB. */
static void fill(int conn, const char *argument)
{
    static const char block[64 << 10];
    char path[256];
    unsigned most = 0;
    size_t done = 0;
    ssize_t n = 0;
    if (sscanf(argument, "%255s %u", path, &most) != 2)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    while (fd >= 0 && done < (size_t)most << 20 && (n = write(fd, block, sizeof block)) > 0)
        done += (size_t)n;
    dprintf(conn, "%zu %s\n", done >> 20, fd < 0 || n < 0 ? strerror(errno) : "ok");
    close(fd);
}

/* Makes empty files in a directory until that is refused, or there are so many. */
static void make_files(int conn, const char *argument)
{
    char dir[200], path[256];
    unsigned most = 0, n = 0;
    int made = 0;
    if (sscanf(argument, "%199s %u", dir, &most) != 2)
        return;
    for (; n < most && made == 0; n++) {
        snprintf(path, sizeof path, "%s/%u", dir, n);
        made = mknod(path, S_IFREG | 0644, 0);
    }
    dprintf(conn, "%u %s\n", n, made < 0 ? strerror(errno) : "ok");
}

static void sleep_forever(int conn, const struct agent_start *start)
{
    pid_t pid = fork_user(start);
    if (pid == 0) {
        close(conn);
        for (;;)
            pause();
    }
    dprintf(conn, "pid %d\n", pid);
}

static void answer(int conn, char *line, const struct agent_start *start)
{
    char *argument = strchr(line, ' ');
    if (argument)
        *argument++ = '\0';
    else
        argument = line + strlen(line);
    if (strcmp(line, "echo") == 0)
        dprintf(conn, "%s\n", argument);
    else if (strcmp(line, "config") == 0)
        dprintf(conn, "%.*s", (int)start->config_len, start->config);
    else if (strcmp(line, "ids") == 0)
        dprintf(conn, "uid %u gid %u pid %d ppid %d groups %d\n", getuid(), getgid(), getpid(),
                getppid(), getgroups(0, NULL));
    else if (strcmp(line, "ls") == 0)
        list_dir(conn, argument);
    else if (strcmp(line, "write") == 0) {
        int fd = open(argument, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        dprintf(conn, "%s\n", fd < 0 ? strerror(errno) : "ok");
        close(fd);
    } else if (strcmp(line, "mkdir") == 0)
        dprintf(conn, "%s\n", mkdir(argument, 0755) < 0 ? strerror(errno) : "ok");
    else if (strcmp(line, "stat") == 0) {
        struct stat st;
        if (stat(argument, &st) < 0)
            dprintf(conn, "error %s\n", strerror(errno));
        else
            dprintf(conn, "uid %u gid %u mode %o\n", st.st_uid, st.st_gid, st.st_mode);
    } else if (strcmp(line, "root") == 0)
        run_shell(conn, 0, argument, start);
    else if (strcmp(line, "user") == 0)
        run_shell(conn, 1000, argument, start);
    else if (strcmp(line, "memory") == 0)
        eat_memory(conn, start);
    else if (strcmp(line, "forks") == 0)
        in_child(count_forks, conn, start);
    else if (strcmp(line, "inotify") == 0)
        count_inotify(conn);
    else if (strcmp(line, "fill") == 0)
        fill(conn, argument);
    else if (strcmp(line, "files") == 0)
        make_files(conn, argument);
    else if (strcmp(line, "remove") == 0)
        dprintf(conn, "%s\n", unlink(argument) < 0 ? strerror(errno) : "ok");
    else if (strcmp(line, "sleeper") == 0)
        sleep_forever(conn, start);
    else if (strcmp(line, "die") == 0)
        _exit(3);
    else
        dprintf(conn, "unknown\n");
}

int agent_main(const struct agent_start *start)
{
    for (;;) {
        char line[4096];
        int conn = accept4(start->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (conn < 0)
            return 1;
        ssize_t n = read(conn, line, sizeof line - 1);
        if (n > 0) {
            line[n] = '\0';
            line[strcspn(line, "\n")] = '\0';
            answer(conn, line, start);
        }
        close(conn);
    }
}
