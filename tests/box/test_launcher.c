/* SPDX-License-Identifier: Apache-2.0 */
/* Real sandboxes through the launcher's messages: what they are from inside, what happens when
 * something dies, and that nothing is ever left. Needs root; argument: the probe's init. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "box/plan.h"
#include "harness.h"

/* The kernel makes a directory of its own in an overlay's work directory. */
#define OVERLAY_LEAVES "work" "/work" "/a/b/c"

static const char *image;

static int set_up(void **state)
{
    struct harness *h = xcalloc(1, sizeof *h);
    harness_open(h, image);
    *state = h;
    return harness_start(h) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct harness *h = *state;
    bool clean = harness_clean(h);
    if (!clean) {
        struct harness_remains r = harness_remains(h);
        fprintf(stderr, "left: directories %u sockets %u cgroups %u mounts %u\n", r.directories,
                r.sockets, r.cgroups, r.mounts);
    }
    harness_close(h);
    free(h);
    return clean ? 0 : -1;
}

static void assert_answer(struct harness *h, const char *id, const char *line, const char *expected)
{
    const char *answer = harness_ask(h, id, line);
    assert_non_null(answer);
    assert_string_equal(answer, expected);
}

static void create(struct harness *h, const char *id)
{
    struct launcher_reply reply = harness_create(h, id, "tiny");
    assert_string_equal(reply.message, "");
    assert_int_equal(reply.code, 0);
    assert_true(reply.pid > 1);
    assert_string_equal(reply.id, id);
}

static void destroy(struct harness *h, const char *id)
{
    assert_int_equal(harness_call(h, LAUNCHER_DESTROY, id).code, 0);
}

/* ---- what a sandbox is ---- */

static void test_inside(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    assert_answer(h, "one", "echo hello", "hello\n");
    assert_answer(h, "one", "config", "{\"a\":1}");
    assert_answer(h, "one", "ids", "uid 0 gid 0 pid 2 ppid 1 groups 0\n");
    assert_answer(h, "one", "write /file", "ok\n");
    assert_answer(h, "one", "stat /file", "uid 0 gid 0 mode 100644\n");
    assert_answer(h, "one", "stat /", "uid 0 gid 0 mode 40755\n");
    assert_answer(h, "one", "stat /bin", "uid 0 gid 0 mode 40755\n");
    assert_answer(h, "one", "write /dev/new", "Read-only file system\n");
    assert_answer(h, "one", "write /proc/sys/kernel/core_pattern", "Read-only file system\n");
    assert_answer(h, "one", "ls /proc/1/fd", "error Permission denied\n");
    assert_answer(h, "one", "ls /sys", "");
    destroy(h, "one");
}

/* Socket, standard streams, cgroup files (four to read, six doors), the link to init, the two memory
 * files that it shares, the transfer pipe, the connection and the directory being read. */
static void test_descriptors(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    const char *answer = harness_ask(h, "one", "ls /proc/self/fd");
    assert_non_null(answer);
    size_t lines = 0;
    for (const char *p = answer; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 21);
    destroy(h, "one");
}

static void test_template_is_constant(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    assert_answer(h, "one", "write /bin/tool", "ok\n");
    assert_answer(h, "one", "mkdir /etc/new", "ok\n");
    create(h, "two");
    assert_answer(h, "two", "stat /bin/tool", "error No such file or directory\n");
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/tiny/rootfs/bin/tool", h->templates);
    assert_int_equal(stat(path, &st), -1);
    /* On disk, ids count from 0: the layer can be mounted again under any slot. */
    harness_disk_path(h, "files/two/upper/bin", path, sizeof path);
    assert_answer(h, "two", "write /bin/tool", "ok\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 0);
    destroy(h, "one");
    destroy(h, "two");
}

static void test_limits(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    const char *answer = harness_ask(h, "one", "forks");
    assert_non_null(answer);
    unsigned forks;
    assert_int_equal(sscanf(answer, "forks %u", &forks), 1);
    assert_in_range(forks, 40, 64);
    assert_answer(h, "one", "memory", "signal 9\n");
    struct launcher_reply reply = harness_call(h, LAUNCHER_USAGE, "one");
    assert_int_equal(reply.code, 0);
    assert_true(reply.usage.oom_kills >= 1);
    assert_true(reply.usage.memory_bytes > 0 && reply.usage.cpu_ns > 0);
    assert_int_equal(reply.usage.pids, 0); /* init and agent are not the users' */
    destroy(h, "one");
}

/* Were the kernel's counters charged to one user for all sandboxes, the second would get none. */
static void test_inotify_is_not_shared(void **state)
{
    struct harness *h = *state;
    unsigned first, second;
    create(h, "one");
    create(h, "two");
    const char *answer = harness_ask(h, "one", "inotify");
    assert_int_equal(sscanf(answer, "inotify %u", &first), 1);
    answer = harness_ask(h, "two", "inotify");
    assert_int_equal(sscanf(answer, "inotify %u", &second), 1);
    assert_true(first > 0);
    assert_int_equal(first, second);
    destroy(h, "one");
    destroy(h, "two");
}

static void test_freeze(void **state)
{
    struct harness *h = *state;
    struct launcher_reply reply;
    create(h, "one");
    assert_int_equal(harness_call(h, LAUNCHER_FREEZE, "one").code, 0);
    uint64_t serial = harness_send(h, LAUNCHER_LIST, "", NULL, NULL, NULL);
    assert_true(harness_reply(h, serial, &reply));
    assert_int_equal(reply.state, LAUNCHER_FROZEN);
    assert_int_equal(harness_call(h, LAUNCHER_THAW, "one").code, 0);
    assert_answer(h, "one", "echo x", "x\n");
    /* A frozen one can be ended. */
    assert_int_equal(harness_call(h, LAUNCHER_FREEZE, "one").code, 0);
    destroy(h, "one");
}

static void test_agent_comes_back(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    for (int i = 0; i < 3; i++) {
        assert_answer(h, "one", "die", "");
        assert_answer(h, "one", "echo again", "again\n");
    }
    destroy(h, "one");
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    struct harness *h = *state;
    static const char *const bad[] = {"", "A", "a/b", "..", "a b", "x.y"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(harness_create(h, bad[i], "tiny").code, ERR_INVALID);
    static const char *const templates[] = {"", ".", "..", "../tiny", "tiny/rootfs", "Tiny"};
    for (size_t i = 0; i < ARRAY_SIZE(templates); i++)
        assert_int_equal(harness_create(h, "one", templates[i]).code, ERR_INVALID);
    struct launcher_reply reply = harness_create(h, "one", "absent");
    assert_int_equal(reply.code, ERR_NOT_FOUND);
    assert_non_null(strstr(reply.message, "absent"));
    assert_true(harness_clean(h));
    create(h, "one");
    assert_int_equal(harness_create(h, "one", "tiny").code, ERR_EXISTS);
    assert_answer(h, "one", "echo x", "x\n");
    assert_int_equal(harness_call(h, LAUNCHER_FREEZE, "two").code, ERR_NOT_FOUND);
    assert_int_equal(harness_call(h, LAUNCHER_USAGE, "two").code, ERR_NOT_FOUND);
    assert_int_equal(harness_call(h, LAUNCHER_DESTROY, "two").code, 0);
    assert_int_equal(harness_call(h, (enum launcher_op)99, "two").code, ERR_INVALID);
    destroy(h, "one");
    destroy(h, "one");
}

/* The connection ends; the launcher and the sandboxes do not. */
static void test_malformed_messages(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    struct launcher_request request = {
        .version = LAUNCHER_VERSION, .op = LAUNCHER_LIST, .serial = 1};
    for (int i = 0; i < 5; i++) {
        struct launcher_request r = request;
        size_t size = sizeof r;
        if (i == 0)
            r.version = 77;
        else if (i == 1)
            r.config_len = 5;
        else if (i == 2)
            memset(r.id, 'a', sizeof r.id);
        else if (i == 3)
            size -= 8;
        else
            r.serial = 0;
        assert_int_equal(fd_send(h->server, &r, size, NULL, 0), 0);
        struct launcher_reply reply;
        assert_false(harness_next(h, &reply));
        harness_reconnect(h);
        assert_int_equal(harness_list(h), 1);
    }
    destroy(h, "one");
}

enum { ORPHANS = 12 };

static bool all_wait_for_the_zygote(void *arg)
{
    return harness_remains(arg).cgroups >= ORPHANS;
}

/* A server dies with creations under way. Its successor lists once, as a server does, and ends what
 * it does not know; what comes later is nobody's. */
static void test_creations_of_a_dead_server(void **state)
{
    struct harness *h = *state;
    static const struct launcher_limits limits = {64 << 20, 1000, 64, 0};
    char ids[ORPHANS][8];
    create(h, "first"); /* there is a zygote */
    destroy(h, "first");
    assert_true(harness_clean(h));
    pid_t zygote = harness_zygote(h);
    assert_true(zygote > 0);
    kill(zygote, SIGSTOP); /* none is ready before the new server has asked */
    for (int i = 0; i < ORPHANS; i++) {
        snprintf(ids[i], sizeof ids[i], "s%d", i);
        harness_send(h, LAUNCHER_CREATE, ids[i], "tiny", &limits, "{}");
    }
    assert_true(harness_wait(all_wait_for_the_zygote, h));
    harness_reconnect(h);
    struct launcher_reply reply;
    char found[ORPHANS][32];
    size_t n = 0;
    uint64_t serial = harness_send(h, LAUNCHER_LIST, "", NULL, NULL, NULL);
    while (harness_reply(h, serial, &reply) && reply.more)
        snprintf(found[n++], sizeof found[0], "%s", reply.id);
    kill(zygote, SIGCONT);
    for (size_t i = 0; i < n; i++)
        destroy(h, found[i]);
    assert_true(harness_clean(h));
    assert_int_equal(harness_list(h), 0);
}

static void test_strangers_are_refused(void **state)
{
    struct harness *h = *state;
    chmod(h->root, 0777);
    char path[128];
    snprintf(path, sizeof path, "%s/launcher.sock", h->root);
    chmod(path, 0777);
    pid_t pid = fork();
    if (pid == 0) {
        if (setresgid(12345, 12345, 12345) < 0 || setresuid(12345, 12345, 12345) < 0)
            _exit(1);
        int fd = harness_connect(h);
        struct launcher_reply reply;
        const struct launcher_request request = {
            .version = LAUNCHER_VERSION, .op = LAUNCHER_LIST, .serial = 1};
        fd_send(fd, &request, sizeof request, NULL, 0);
        _exit(recv(fd, &reply, sizeof reply, 0) > 0 ? 2 : 0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(harness_list(h), 0);
}

static void test_hostile_template(void **state)
{
    struct harness *h = *state;
    char path[256];
    snprintf(path, sizeof path, "%s/evil/rootfs/tmp", h->templates);
    assert_int_equal(path_make_dirs(path, 0755), 0);
    snprintf(path, sizeof path, "%s/evil/rootfs/proc", h->templates);
    assert_int_equal(symlink("/state", path), 0);
    struct launcher_reply reply = harness_create(h, "one", "evil");
    assert_int_not_equal(reply.code, 0);
    assert_non_null(strstr(reply.message, "mount /root/proc"));
}

/* ---- deaths ---- */

static void test_gone(void **state)
{
    struct harness *h = *state;
    struct launcher_reply reply = harness_create(h, "one", "tiny");
    kill(reply.pid, SIGKILL);
    assert_true(harness_next(h, &reply));
    assert_int_equal(reply.op, LAUNCHER_GONE);
    assert_int_equal(reply.serial, 0);
    assert_string_equal(reply.id, "one");
    assert_int_equal(harness_list(h), 0);
    /* TERM from outside ends it too; the same from inside does nothing. */
    reply = harness_create(h, "two", "tiny");
    kill(reply.pid, SIGTERM);
    assert_true(harness_next(h, &reply));
    assert_int_equal(reply.op, LAUNCHER_GONE);
}

static void test_launcher_killed(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    create(h, "two");
    create(h, "three");
    assert_int_equal(harness_call(h, LAUNCHER_FREEZE, "three").code, 0);
    assert_answer(h, "one", "write /kept", "ok\n");
    harness_kill(h);
    assert_answer(h, "one", "echo alone", "alone\n");
    assert_true(harness_start(h));
    assert_int_equal(harness_list(h), 3);
    assert_answer(h, "one", "stat /kept", "uid 0 gid 0 mode 100644\n");
    assert_int_equal(harness_call(h, LAUNCHER_THAW, "three").code, 0);
    assert_answer(h, "three", "echo x", "x\n");
    create(h, "four"); /* in a slot that nobody has */
    assert_answer(h, "four", "stat /kept", "error No such file or directory\n");
    assert_answer(h, "two", "echo x", "x\n");
    assert_int_equal(harness_call(h, LAUNCHER_USAGE, "two").code, 0);
    harness_stop(h); /* gently: they live on as well */
    assert_answer(h, "two", "echo x", "x\n");
    assert_true(harness_start(h));
    assert_int_equal(harness_list(h), 4);
    destroy(h, "one");
    destroy(h, "two");
    destroy(h, "three");
    destroy(h, "four");
}

/* At whatever moment the launcher dies: afterwards each sandbox runs whole or is not there. */
static void test_launcher_killed_while_making(void **state)
{
    struct harness *h = *state;
    static const struct launcher_limits limits = {64 << 20, 1000, 64, 0};
    enum { ROUNDS = 20, AT_ONCE = 12 };
    for (int round = 0; round < ROUNDS; round++) {
        char id[32];
        for (int i = 0; i < AT_ONCE; i++) {
            snprintf(id, sizeof id, "r%dn%d", round, i);
            harness_send(h, LAUNCHER_CREATE, id, "tiny", &limits, "{}");
            if (i % 3 == 2) {
                snprintf(id, sizeof id, "r%dn%d", round, i - 1);
                harness_send(h, LAUNCHER_DESTROY, id, NULL, NULL, NULL);
            }
        }
        struct launcher_reply reply;
        for (int replies = round % AT_ONCE; replies > 0; replies--)
            assert_true(harness_next(h, &reply));
        harness_kill(h);
        assert_true(harness_start(h));
        uint64_t serial = harness_send(h, LAUNCHER_LIST, "", NULL, NULL, NULL);
        unsigned listed = 0;
        while (harness_reply(h, serial, &reply) && reply.more) {
            listed++;
            assert_answer(h, reply.id, "echo x", "x\n");
        }
        assert_true(listed <= AT_ONCE);
        for (int i = 0; i < AT_ONCE; i++) {
            snprintf(id, sizeof id, "r%dn%d", round, i);
            destroy(h, id);
        }
        assert_true(harness_clean(h));
    }
}

static bool is_dead(void *arg)
{
    return kill(*(pid_t *)arg, 0) < 0;
}

static void test_zygote_killed(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    pid_t zygote = harness_zygote(h);
    assert_true(zygote > 0);
    kill(zygote, SIGKILL);
    assert_true(harness_wait(is_dead, &zygote));
    assert_answer(h, "one", "echo x", "x\n");
    create(h, "two");
    assert_answer(h, "two", "echo x", "x\n");
    destroy(h, "one");
    destroy(h, "two");
}

static void test_destroy_while_making(void **state)
{
    struct harness *h = *state;
    static const struct launcher_limits limits = {64 << 20, 1000, 64, 0};
    for (int i = 0; i < 60; i++) {
        char id[32];
        snprintf(id, sizeof id, "n%d", i);
        uint64_t made = harness_send(h, LAUNCHER_CREATE, id, "tiny", &limits, "{}");
        uint64_t ended = harness_send(h, LAUNCHER_DESTROY, id, NULL, NULL, NULL);
        unsigned seen = 0;
        struct launcher_reply reply;
        while (seen != 3 && harness_next(h, &reply)) {
            assert_int_not_equal(reply.op, LAUNCHER_GONE);
            if (reply.serial == made) {
                assert_true(reply.code == 0 || reply.code == ERR_CANCELED);
                seen |= 1;
            } else if (reply.serial == ended) {
                assert_int_equal(reply.code, 0);
                seen |= 2;
            }
        }
        assert_int_equal(seen, 3);
    }
}

/* What an earlier launcher may have left, and what a disk may have made of it. */
static void test_remains(void **state)
{
    struct harness *h = *state;
    static const char *const records[] = {"", "version=1\n", "nonsense", "version=1\npid=1\n"};
    create(h, "one");
    char path[256];
    harness_disk_path(h, "trash/old/upper", path, sizeof path);
    assert_int_equal(path_make_dirs(path, 0700), 0);
    harness_disk_path(h, "files/half0/" OVERLAY_LEAVES, path, sizeof path);
    assert_int_equal(path_make_dirs(path, 0700), 0);
    harness_kill(h);
    for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
        snprintf(path, sizeof path, "%s/sandboxes/half%zu/" OVERLAY_LEAVES, h->state, i);
        assert_int_equal(path_make_dirs(path, 0700), 0);
        snprintf(path, sizeof path, "%s/sandboxes/half%zu/box", h->state, i);
        assert_int_equal(fd_replace_file(AT_FDCWD, path, records[i], strlen(records[i]), 0600), 0);
    }
    /* A record that is another sandbox's: the same slot, the same process. */
    _cleanup_free_ char *text = NULL;
    size_t len;
    snprintf(path, sizeof path, "%s/sandboxes/one/box", h->state);
    assert_int_equal(fd_read_file(AT_FDCWD, path, 4096, &text, &len), 0);
    snprintf(path, sizeof path, "%s/sandboxes/zwei", h->state);
    assert_int_equal(path_make_dirs(path, 0700), 0);
    snprintf(path, sizeof path, "%s/sandboxes/zwei/box", h->state);
    /* ... but started at another time. */
    char *start = strstr(text, "start=");
    start[6] = start[6] == '9' ? '8' : '9';
    assert_int_equal(fd_replace_file(AT_FDCWD, path, text, len, 0600), 0);
    assert_true(harness_start(h));
    assert_int_equal(harness_list(h), 1);
    assert_answer(h, "one", "echo x", "x\n");
    destroy(h, "one");
    assert_true(harness_clean(h));
}

/* ---- failing at every step ---- */

static void fail_at(struct harness *h, const char *step, const char *message)
{
    struct launcher_reply reply = harness_create(h, "one", "tiny");
    if (reply.code == 0 || !strstr(reply.message, message))
        fprintf(stderr, "step %s: code %u \"%s\"\n", step, reply.code, reply.message);
    assert_int_not_equal(reply.code, 0);
    assert_non_null(strstr(reply.message, message));
    assert_true(harness_clean(h));
    assert_int_equal(harness_list(h), 0);
}

static unsigned tampered_mount;
static void break_mount(struct box_plan *plan)
{
    snprintf(plan->inside.mounts[tampered_mount].target, sizeof plan->inside.mounts[0].target,
             "/nowhere");
}

static void break_host_name(struct box_plan *plan)
{
    memset(plan->inside.hostname, 'x', sizeof plan->inside.hostname);
}

static void break_files(struct box_plan *plan)
{
    plan->inside.nofile_soft = plan->inside.nofile_hard + 1;
}

static void test_failing_inside(void **state)
{
    struct harness *h = *state;
    static const struct {
        void (*tamper)(struct box_plan *plan);
        const char *message;
    } cases[] = {{break_mount, "mount /nowhere"}, {break_host_name, ""}, {break_files, "limits"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        harness_stop(h);
        h->options.tamper = cases[i].tamper;
        for (tampered_mount = 0; tampered_mount < (i == 0 ? 8 : 1); tampered_mount++) {
            assert_true(harness_start(h));
            if (cases[i].tamper == break_host_name) {
                struct launcher_reply reply = harness_create(h, "one", "tiny");
                assert_int_equal(reply.code, 0); /* 64 bytes are just what the kernel takes */
                destroy(h, "one");
            } else {
                fail_at(h, "inside", cases[i].message);
            }
            harness_stop(h);
        }
        assert_true(harness_start(h));
    }
}

/* ---- side by side ---- */

static void test_two_instances(void **state)
{
    struct harness *h = *state;
    struct harness other, same = *h;
    harness_open(&other, image);
    assert_true(harness_start(&other));
    create(h, "one");
    create(&other, "one");
    assert_answer(&other, "one", "write /mine", "ok\n");
    assert_answer(h, "one", "stat /mine", "error No such file or directory\n");
    /* The same state directory twice is refused. */
    assert_false(harness_start(&same));
    destroy(h, "one");
    assert_answer(&other, "one", "echo x", "x\n");
    destroy(&other, "one");
    assert_true(harness_clean(&other));
    harness_close(&other);
}

static void test_new_server_takes_over(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    int old = h->server;
    h->server = -1;
    harness_reconnect(h);
    assert_int_equal(harness_list(h), 1);
    char byte;
    assert_int_equal(recv(old, &byte, 1, 0), 0);
    close(old);
    destroy(h, "one");
}

/* The same id again, before the removal of the first is over. */
static void test_same_id_again(void **state)
{
    struct harness *h = *state;
    static const struct launcher_limits limits = {64 << 20, 1000, 64, 0};
    for (int i = 0; i < 30; i++) {
        struct launcher_reply reply;
        create(h, "same");
        assert_answer(h, "same", "mkdir /old", "ok\n");
        harness_send(h, LAUNCHER_DESTROY, "same", NULL, NULL, NULL);
        /* The destroy is answered first; what is sent now meets the removal. */
        assert_true(harness_next(h, &reply));
        uint64_t first = harness_send(h, LAUNCHER_CREATE, "same", "tiny", &limits, "{}");
        uint64_t second = harness_send(h, LAUNCHER_CREATE, "same", "tiny", &limits, "{}");
        unsigned made = 0, refused = 0;
        while (made + refused < 2 && harness_next(h, &reply)) {
            assert_true(reply.serial == first || reply.serial == second);
            made += reply.code == 0;
            refused += reply.code == ERR_EXISTS;
        }
        assert_int_equal(made, 1);
        assert_int_equal(refused, 1);
        assert_answer(h, "same", "stat /old", "error No such file or directory\n");
        destroy(h, "same");
    }
}

static void test_many(void **state)
{
    struct harness *h = *state;
    enum { MANY = 60 };
    static const struct launcher_limits limits = {64 << 20, 1000, 64, 0};
    char id[32];
    struct launcher_reply reply;
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "m%d", i);
        harness_send(h, LAUNCHER_CREATE, id, "tiny", &limits, "{}");
    }
    for (int i = 0; i < MANY; i++) {
        assert_true(harness_next(h, &reply));
        assert_string_equal(reply.message, "");
    }
    assert_int_equal(harness_list(h), MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "m%d", i);
        char line[64], expected[64];
        snprintf(line, sizeof line, "write /mine%d", i);
        assert_answer(h, id, line, "ok\n");
        snprintf(line, sizeof line, "echo %s", id);
        snprintf(expected, sizeof expected, "%s\n", id);
        assert_answer(h, id, line, expected);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "m%d", i);
        harness_send(h, LAUNCHER_DESTROY, id, NULL, NULL, NULL);
    }
    for (int i = 0; i < MANY; i++)
        assert_true(harness_next(h, &reply));
}

int main(int argc, char **argv)
{
    if (geteuid() != 0 || argc < 2) {
        puts("1..0 # SKIP needs root and the probe's init as argument");
        return 0;
    }
    image = argv[1];
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_inside),
        TEST(test_descriptors),
        TEST(test_template_is_constant),
        TEST(test_limits),
        TEST(test_inotify_is_not_shared),
        TEST(test_freeze),
        TEST(test_agent_comes_back),
        TEST(test_refusals),
        TEST(test_malformed_messages),
        TEST(test_creations_of_a_dead_server),
        TEST(test_strangers_are_refused),
        TEST(test_hostile_template),
        TEST(test_gone),
        TEST(test_launcher_killed),
        TEST(test_launcher_killed_while_making),
        TEST(test_zygote_killed),
        TEST(test_destroy_while_making),
        TEST(test_remains),
        TEST(test_failing_inside),
        TEST(test_two_instances),
        TEST(test_new_server_takes_over),
        TEST(test_same_id_again),
        TEST(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
