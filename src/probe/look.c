/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what is around a probe: /proc, programs, children. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "probe/probe.h"

ssize_t probe_read(const char *path, char *out, size_t size)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    ssize_t n = fd_read_all(fd, out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    return n;
}

bool probe_status(const char *pid, const char *key, char *out, size_t size)
{
    char path[64], text[8192];
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    if (probe_read(path, text, sizeof text) < 0)
        return false;
    struct str rest = str_from(text), line, name;
    while (str_split(&rest, '\n', &line)) {
        if (!str_split(&line, ':', &name) || !str_eqz(name, key))
            continue;
        line = str_trim(line);
        snprintf(out, size, "%.*s", STR_ARG(line));
        return true;
    }
    return false;
}

static pid_t parent_of(pid_t pid)
{
    char name[16], value[32];
    uint64_t n = 0;
    snprintf(name, sizeof name, "%d", pid);
    if (!probe_status(name, "PPid", value, sizeof value) ||
        str_to_u64(str_from(value), INT32_MAX, &n) < 0)
        return 0;
    return (pid_t)n;
}

pid_t probe_agent_pid(void)
{
    pid_t pid = getpid(), parent;
    while ((parent = parent_of(pid)) > 1)
        pid = parent;
    return pid;
}

int probe_run(char *const argv[])
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        for (int fd = 0; null >= 0 && fd < 3; fd++)
            dup2(null, fd);
        execvp(argv[0], argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status) == 127 ? -1 : WEXITSTATUS(status);
}

int probe_in_child(void (*fn)(void *arg), void *arg)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    if (pid > 0)
        waitpid(pid, &status, 0);
    return status;
}
