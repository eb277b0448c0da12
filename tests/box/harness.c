/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "box/remove.h"

enum { DEADLINE_MS = 10000 };

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "harness: %s: %s\n", what, strerror(errno));
    abort();
}

static void make_template(const struct harness *h, const char *name)
{
    static const char *const dirs[] = {"dev", "proc", "tmp", "etc", "bin", "usr", "sys"};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s/rootfs/%s", h->templates, name, dirs[i]);
        must(path_make_dirs(path, 0755) == 0, path);
    }
}

void harness_open(struct harness *h, const char *image_path)
{
    memset(h, 0, sizeof *h);
    const char *tmp = getenv("BOX_TMP");
    snprintf(h->root, sizeof h->root, "%s/carrel-box-XXXXXX", tmp ? tmp : "/tmp");
    must(mkdtemp(h->root) != NULL, "mkdtemp");
    snprintf(h->state, sizeof h->state, "%s/state", h->root);
    snprintf(h->run, sizeof h->run, "%s/run", h->root);
    snprintf(h->templates, sizeof h->templates, "%s/templates", h->root);
    snprintf(h->cgroup_parent, sizeof h->cgroup_parent, "carreltest-%d", getpid());
    make_template(h, "tiny");
    h->image_path = image_path;
    h->launcher = -1;
    h->server = h->listen_fd = -1;
    h->options =
        (struct launcher_options){.state_dir = h->state,
                                  .run_dir = h->run,
                                  .templates_dir = h->templates,
                                  .cgroup_parent = h->cgroup_parent,
                                  .instance = -1,
                                  .disk = getenv("BOX_PLAIN") ? BOX_DISK_GUARD : BOX_DISK_AUTO,
                                  .ca_bundle = "none",
                                  .keep_stderr = getenv("BOX_STDERR") != NULL};
    int fd = open(image_path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    must(fd >= 0 && fstat(fd, &st) == 0, image_path);
    h->options.image_size = (size_t)st.st_size;
    h->options.image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    must(h->options.image != MAP_FAILED, "map image");
    close(fd);
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    must((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s", path) <
             sizeof address.sun_path,
         path);
    return address;
}

int harness_connect(const struct harness *h)
{
    char path[128];
    snprintf(path, sizeof path, "%s/launcher.sock", h->root);
    const struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    must(connect(fd, (const struct sockaddr *)&address, sizeof address) == 0, path);
    return fd;
}

void harness_reconnect(struct harness *h)
{
    fd_closep(&h->server);
    h->server = harness_connect(h);
}

bool harness_start(struct harness *h)
{
    char path[128];
    snprintf(path, sizeof path, "%s/launcher.sock", h->root);
    if (h->listen_fd < 0) {
        const struct sockaddr_un address = address_of(path);
        h->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        must(bind(h->listen_fd, (const struct sockaddr *)&address, sizeof address) == 0, path);
        must(listen(h->listen_fd, 8) == 0, "listen");
    }
    int ready[2];
    must(pipe2(ready, O_CLOEXEC) == 0, "pipe");
    h->options.listen_fd = h->listen_fd;
    h->options.ready_fd = ready[1];
    h->launcher = fork();
    must(h->launcher >= 0, "fork");
    if (h->launcher == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no launcher */
        close(ready[0]);
        log_setup("launcher", getenv("BOX_LOG") ? LOG_DEBUG : LOG_ERROR);
        _exit(launcher_main(&h->options));
    }
    close(ready[1]);
    char byte;
    bool serves = fd_read_all(ready[0], &byte, 1) == 1;
    close(ready[0]);
    if (serves) {
        harness_reconnect(h);
    } else {
        /* It said why, or died at once. */
        waitpid(h->launcher, NULL, 0);
        h->launcher = -1;
    }
    return serves;
}

static int end_launcher(struct harness *h, int sig)
{
    int status = 0;
    if (h->launcher < 0)
        return 0;
    fd_closep(&h->server);
    kill(h->launcher, sig);
    must(waitpid(h->launcher, &status, 0) == h->launcher, "waitpid");
    h->launcher = -1;
    return status;
}

void harness_kill(struct harness *h)
{
    end_launcher(h, SIGKILL);
}

void harness_stop(struct harness *h)
{
    int status = end_launcher(h, SIGTERM);
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "launcher's exit status");
}

void harness_close(struct harness *h)
{
    harness_stop(h);
    munmap((void *)(uintptr_t)h->options.image, h->options.image_size);
    fd_closep(&h->listen_fd);
    _cleanup_free_ char *parent = xstrndup(h->root, (size_t)(strrchr(h->root, '/') - h->root));
    _cleanup_close_ int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(remove_tree(fd, strrchr(h->root, '/') + 1) == 0, "remove directories");
}

static uint64_t send_request(struct harness *h, enum launcher_op op, const char *id,
                             const char *template_name, const struct launcher_limits *limits,
                             const char *config, bool online, const char *base, bool again)
{
    size_t config_len = config ? strlen(config) : 0;
    struct launcher_request *request = xcalloc(1, sizeof *request + config_len);
    request->version = LAUNCHER_VERSION;
    request->op = op;
    request->serial = ++h->serial;
    snprintf(request->id, sizeof request->id, "%s", id);
    if (template_name)
        snprintf(request->template_name, sizeof request->template_name, "%s", template_name);
    if (limits)
        request->limits = *limits;
    request->allow_internet = online;
    request->again = again;
    snprintf(request->base, sizeof request->base, "%s", base);
    request->config_len = (uint32_t)config_len;
    if (config_len)
        memcpy(request + 1, config, config_len);
    must(fd_send(h->server, request, sizeof *request + config_len, NULL, 0) == 0, "send");
    free(request);
    return h->serial;
}

uint64_t harness_send(struct harness *h, enum launcher_op op, const char *id,
                      const char *template_name, const struct launcher_limits *limits,
                      const char *config)
{
    return send_request(h, op, id, template_name, limits, config, false, "", false);
}

uint64_t harness_send_online(struct harness *h, enum launcher_op op, const char *id,
                             const char *template_name, const struct launcher_limits *limits,
                             const char *config)
{
    return send_request(h, op, id, template_name, limits, config, true, "", false);
}

uint64_t harness_send_based(struct harness *h, enum launcher_op op, const char *id,
                            const char *base, bool again)
{
    static const struct launcher_limits limits = {64 << 20, 1000, 64, 0};
    return send_request(h, op, id, "tiny", &limits, "{}", false, base, again);
}

bool harness_next(struct harness *h, struct launcher_reply *ret)
{
    struct pollfd fd = {.fd = h->server, .events = POLLIN};
    size_t none = 0;
    return poll(&fd, 1, DEADLINE_MS) == 1 &&
           fd_receive(h->server, ret, sizeof *ret, NULL, &none) == (ssize_t)sizeof *ret;
}

bool harness_reply(struct harness *h, uint64_t serial, struct launcher_reply *ret)
{
    while (harness_next(h, ret))
        if (ret->serial == serial)
            return true;
    return false;
}

struct launcher_reply harness_call(struct harness *h, enum launcher_op op, const char *id)
{
    struct launcher_reply reply = {0};
    must(harness_reply(h, harness_send(h, op, id, NULL, NULL, NULL), &reply), "reply");
    return reply;
}

struct launcher_reply harness_create(struct harness *h, const char *id, const char *template_name)
{
    static const struct launcher_limits limits = {64 << 20, 1000, 64, 0};
    struct launcher_reply reply = {0};
    uint64_t serial = harness_send(h, LAUNCHER_CREATE, id, template_name, &limits, "{\"a\":1}");
    must(harness_reply(h, serial, &reply), "reply to create");
    return reply;
}

unsigned harness_list(struct harness *h)
{
    struct launcher_reply reply;
    unsigned n = 0;
    uint64_t serial = harness_send(h, LAUNCHER_LIST, "", NULL, NULL, NULL);
    while (harness_reply(h, serial, &reply) && reply.more)
        n++;
    return n;
}

const char *harness_ask(struct harness *h, const char *id, const char *line)
{
    static char answer[65536];
    char path[128];
    snprintf(path, sizeof path, "%s/%s/agent.sock", h->run, id);
    const struct sockaddr_un address = address_of(path);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval deadline = {DEADLINE_MS / 1000, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        fd_write_all(fd, line, strlen(line)) < 0 || shutdown(fd, SHUT_WR) < 0)
        return NULL;
    ssize_t n = fd_read_all(fd, answer, sizeof answer - 1);
    if (n < 0)
        return NULL;
    answer[n] = '\0';
    return answer;
}

pid_t harness_zygote(const struct harness *h)
{
    DIR *dir = opendir("/proc");
    pid_t found = -1;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[300];
        _cleanup_free_ char *text = NULL;
        int pid, ppid;
        char name[32], state_letter;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        if (fd_read_file(AT_FDCWD, path, 4096, &text, NULL) == 0 &&
            sscanf(text, "%d (%31[^)]) %c %d", &pid, name, &state_letter, &ppid) == 4 &&
            ppid == h->launcher && strcmp(name, "carrel-zygote") == 0)
            found = pid;
    }
    closedir(dir);
    return found;
}

bool harness_wait(bool (*cond)(void *arg), void *arg)
{
    int64_t until = clock_mono_ns() + DEADLINE_MS * CLOCK_MS;
    while (!cond(arg)) {
        if (clock_mono_ns() > until)
            return false;
        const struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    return true;
}

/* Those that start with '_' are groups for all sandboxes together. */
static unsigned count_dirs(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.' && entry->d_name[0] != '_' && entry->d_type == DT_DIR;
    closedir(dir);
    return n;
}

void harness_disk_path(const struct harness *h, const char *below, char *out, size_t size)
{
    if (h->launcher > 0)
        snprintf(out, size, "/proc/%d/root%s/disk/%s", h->launcher, h->state, below);
    else
        snprintf(out, size, "%s/disk/%s", h->state, below);
}

struct harness_remains harness_remains(const struct harness *h)
{
    static const char *const controllers[] = {"memory",  "cpu",     "cpuacct", "pids",
                                              "freezer", "unified", ""};
    struct harness_remains r = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/sandboxes", h->state);
    r.directories = count_dirs(path);
    harness_disk_path(h, "files", path, sizeof path);
    r.directories += count_dirs(path);
    harness_disk_path(h, "trash", path, sizeof path);
    r.directories += count_dirs(path);
    r.sockets = count_dirs(h->run);
    snprintf(path, sizeof path, "%s/snapshots", h->state);
    r.snapshots = count_dirs(path);
    for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
        for (int n = 0; n < 8; n++) {
            snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s-%d", controllers[i], h->cgroup_parent,
                     n);
            r.cgroups += count_dirs(path);
        }
    }
    char *mounts;
    must(fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &mounts, NULL) == 0, "mountinfo");
    for (const char *p = mounts; (p = strstr(p, h->root)); p++)
        r.mounts++;
    free(mounts);
    return r;
}

static bool nothing_left(void *arg)
{
    struct harness_remains r = harness_remains(arg);
    return !r.directories && !r.sockets && !r.cgroups && !r.mounts && !r.snapshots;
}

bool harness_clean(struct harness *h)
{
    return harness_wait(nothing_left, h);
}

unsigned harness_kits(const struct harness *h)
{
    char path[128];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/ready", h->state);
    n += count_dirs(path);
    snprintf(path, sizeof path, "%s/.ready", h->run);
    return n + count_dirs(path);
}
