/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the agent on a socket of the file system, outside of any sandbox, for the tests beside it:
 *
 *     agent_driver SOCKET [CONFIG-JSON [supervise | init]]
 *
 * Prints a line when the socket listens. With `supervise` it does what init does for the agent: runs
 * it in a child, starts it again whenever it dies, and prints the pid of each. With `init` it is the
 * real one, in a process namespace of its own: pids are those inside, the agent's is the first. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/handover.h"
#include "agent/upload_journal.h"
#include "base/mem.h"

static int listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, path, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1024) < 0)
        return -1;
    return fd;
}

static int supervise(const struct agent_start *start)
{
    upload_journal_open();
    pid_t parent = getpid();
    for (;;) {
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) /* it was faster */
                _exit(0);
            _exit(agent_main(start));
        }
        printf("%d\n", (int)pid);
        fflush(stdout);
        if (pid < 0 || waitpid(pid, NULL, 0) < 0)
            return 1;
    }
}

/* Everything in the namespace ends with its init, and init with us. */
static int run_init(const struct agent_start *start)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0) {
        perror("unshare");
        return 1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("proc", "/proc", "proc", 0, NULL) < 0)
            _exit(1);
        _exit(init_main(start));
    }
    printf("%d\n", (int)pid); /* outside */
    fflush(stdout);
    return pid < 0 || waitpid(pid, NULL, 0) < 0;
}

int main(int argc, char **argv)
{
    static const char standard[] = "{\"defaultUser\":\"root\"}";
    if (handover_asked(argc, argv))
        return handover_main(argv);
    if (argc < 2) {
        fprintf(stderr, "usage: agent_driver SOCKET [CONFIG-JSON]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies takes its agent along */
    struct agent_start start = {.memory_fd = -1,
                                .cpu_fd = -1,
                                .oom_fd = -1,
                                .pids_fd = -1,
                                .join_fds = {-1, -1, -1},
                                .rescue_fds = {-1, -1, -1},
                                .leave_fd = -1};
    start.listen_fd = listen_on(argv[1]);
    start.config = argc > 2 ? argv[2] : standard;
    start.config_len = strlen(start.config);
    if (start.listen_fd < 0) {
        perror(argv[1]);
        return 1;
    }
    puts("listening");
    fflush(stdout);
    start.spool_dir = getenv("SPOOL_DIR");
    if (argc > 3)
        return strcmp(argv[3], "init") == 0 ? run_init(&start) : supervise(&start);
    return agent_main(&start);
}
