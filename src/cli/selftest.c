/* SPDX-License-Identifier: Apache-2.0 */
/* `carrel selftest`: sends the probe program into fresh sandboxes of a server of its own, as user
 * and as root, looks at them from outside, and says which properties of the isolation hold. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "cli/api.h"
#include "cli/command.h"
#include "cli/selftest_outside.h"
#include "cli/selftest_pulse.h"
#include "cli/selftest_report.h"
#include "cli/selftest_scene.h"
#include "cli/selftest_server.h"
#include "probe/embedded.h"

/* What the sandboxes get: little, so that using it all up takes no time. */
enum { MEMORY_MB = 192, PIDS = 128, DISK_MB = 256, CPU_MILLIS = 1000 };
#define CPUS_TEXT "1"

enum {
    REQUEST_S = 60,
    SANDBOX_S = 600,
    OUTPUT_MAX = 4 << 20,
    SERVER_WORST_MS = 1000, /* while a sandbox is under attack */
    AGENT_WORST_MS = 5000,
    GROUPS_MAX = 16,
};

#define PROBE_PATH "/tmp/carrel-probe"

struct options {
    const char *url, *key; /* of a server that runs; NULL: one of our own */
    const char *templates_dir, *template_name, *weaken;
    const char *groups[GROUPS_MAX]; /* of probes; none: all */
    size_t group_count;
    bool json;
};

struct selftest {
    struct options options;
    int probe_fd;
    struct selftest_scene scene;
    struct selftest_server server;
    struct api_options api_options;
    struct api *api;
    struct selftest_report report;
    struct api_sandbox peer; /* another tenant */
    char peer_address[64];
    bool own; /* server, scene and limits are ours */
};

static void usage(FILE *out)
{
    fprintf(
        out,
        "usage: carrel selftest [OPTION]... [--templates DIR]\n"
        "       carrel selftest --url URL --key KEY [OPTION]...\n\n"
        "Tries to break out of fresh sandboxes, from inside as user and as root, and looks at\n"
        "them from outside. Starts a server of its own for that (needs root), or uses one that\n"
        "runs; then limits, network and the view from outside are not tried. Exit status 0\n"
        "only if every property holds.\n\n"
        "  --json           the result as JSON\n"
        "  --template NAME  what to make the sandboxes from (base)\n"
        "  --group NAME     only these probes, may be given again: namespaces ids proc peers "
        "files\n"
        "                   devices calls sockets network useful limits\n");
}

static int parse(int argc, char **argv, struct options *ret)
{
    const struct {
        const char *name;
        const char **value;
    } table[] = {{"--url", &ret->url},
                 {"--key", &ret->key},
                 {"--templates", &ret->templates_dir},
                 {"--template", &ret->template_name},
                 {"--weaken", &ret->weaken}};
    ret->template_name = "base";
    for (int i = 1; i < argc; i++) {
        bool found = strcmp(argv[i], "--json") == 0;
        ret->json = ret->json || found;
        if (strcmp(argv[i], "--group") == 0 && i + 1 < argc && ret->group_count < GROUPS_MAX) {
            ret->groups[ret->group_count++] = argv[++i];
            found = true;
        }
        for (size_t k = 0; !found && k < ARRAY_SIZE(table); k++) {
            if (strcmp(argv[i], table[k].name) == 0 && i + 1 < argc) {
                *table[k].value = argv[++i];
                found = true;
            }
        }
        if (!found)
            return -EINVAL;
    }
    return !ret->url == !ret->key ? 0 : -EINVAL;
}

/* ---- the probe program ---- */

static int load_probe(struct selftest *t, struct err *err)
{
    size_t n = (size_t)(embedded_probe_end - embedded_probe);
    if (n == 0)
        return err_set(err, ERR_UNIMPLEMENTED, 0, "this build has no probe program in it");
    t->probe_fd = memfd_create("carrel-probe", MFD_CLOEXEC);
    if (t->probe_fd < 0 || fd_write_all(t->probe_fd, embedded_probe, n) < 0)
        return err_os(err, errno, "load the probe program");
    return 0;
}

static bool wanted(const struct options *o, const char *group)
{
    for (size_t i = 0; i < o->group_count; i++)
        if (strcmp(o->groups[i], group) == 0)
            return true;
    return o->group_count == 0;
}

/* Marks what is not asked for; an unknown name is an error. */
static int choose_groups(struct selftest *t, struct err *err)
{
    for (size_t i = 0; i < t->options.group_count; i++) {
        bool known = false;
        for (size_t k = 0; k < t->report.count; k++)
            known = known || strcmp(t->report.rows[k].group, t->options.groups[i]) == 0;
        if (!known)
            return err_set(err, ERR_INVALID, 0, "there is no group %s", t->options.groups[i]);
    }
    for (size_t k = 0; k < t->report.count; k++)
        if (!wanted(&t->options, t->report.rows[k].group))
            selftest_report_skip(&t->report, t->report.rows[k].group);
    return 0;
}

/* The list of all properties comes from the program as we hold it, so that none can be missing. */
static int list_probes(struct selftest *t, struct err *err)
{
    _cleanup_close_ int out = memfd_create("probes", MFD_CLOEXEC);
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        char *const argv[] = {(char[]){"carrel-probe"}, (char[]){"--list"}, NULL};
        char *const environment[] = {NULL};
        if (dup2(out, 1) >= 0)
            fexecve(t->probe_fd, argv, environment);
        _exit(71);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        return err_set(err, ERR_INTERNAL, 0, "the probe program does not run here");
    _cleanup_free_ char *text = xmalloc(OUTPUT_MAX);
    ssize_t n = pread(out, text, OUTPUT_MAX, 0);
    struct str rest = {text, n > 0 ? (size_t)n : 0}, line;
    while (str_split(&rest, '\n', &line))
        if (line.len && selftest_report_line(&t->report, SELFTEST_USER, line) < 0)
            return err_set(err, ERR_INTERNAL, 0, "a line of the probe program is malformed");
    return 0;
}

static int upload_probe(struct selftest *t, const struct api_sandbox *sandbox, struct err *err)
{
    static const char *const argv[] = {"chmod", "755", PROBE_PATH, NULL};
    const struct api_process process = {.user = "user", .argv = argv};
    int code;
    int rc = api_upload(t->api, sandbox, "user", PROBE_PATH, embedded_probe,
                        (size_t)(embedded_probe_end - embedded_probe), err);
    if (rc == 0)
        rc = api_run(t->api, sandbox, &process, &code, NULL, err);
    return rc;
}

struct arguments {
    const char *argv[96];
    size_t count;
};

static void add(struct arguments *a, const char *name, const char *value)
{
    if (a->count + 2 < ARRAY_SIZE(a->argv)) {
        a->argv[a->count++] = name;
        a->argv[a->count++] = value;
    }
}

static bool collect(void *arg, bool is_stderr, const char *p, size_t n)
{
    return is_stderr || buf_append(arg, p, n) == 0;
}

/* Runs some groups of probes and takes their lines. A run that ends early leaves cells that say
 * "did not report", which is a failure of its own. */
static int run_probe(struct selftest *t, const struct api_sandbox *sandbox, const char *user,
                     const struct arguments *a, struct err *err)
{
    _cleanup_(buf_done) struct buf output;
    const struct api_process process = {
        .user = user, .argv = a->argv, .output = collect, .arg = &output};
    enum selftest_view view = strcmp(user, "root") == 0 ? SELFTEST_ROOT : SELFTEST_USER;
    int code;
    buf_init(&output, OUTPUT_MAX);
    int rc = api_run(t->api, sandbox, &process, &code, NULL, err);
    struct str rest = buf_str(&output), line;
    while (str_split(&rest, '\n', &line))
        selftest_report_line(&t->report, view, line);
    return rc;
}

/* Descriptors once more, by the other way in: a process with a terminal. */
static int run_on_terminal(struct selftest *t, const struct api_sandbox *sandbox, const char *user,
                           struct err *err)
{
    static const char *const argv[] = {PROBE_PATH, "--only", "descriptors", NULL};
    _cleanup_(buf_done) struct buf output;
    _cleanup_(selftest_report_done) struct selftest_report found = {0};
    const struct api_process process = {
        .user = user, .argv = argv, .terminal = true, .output = collect, .arg = &output};
    int code;
    buf_init(&output, OUTPUT_MAX);
    int rc = api_run(t->api, sandbox, &process, &code, NULL, err);
    if (rc < 0)
        return rc;
    selftest_report_line(&found, SELFTEST_USER,
                         STR("{\"name\":\"descriptors\",\"group\":\"files\",\"row\":\"1\","
                             "\"what\":\"\"}"));
    selftest_report_line(&found, SELFTEST_USER, str_trim(buf_str(&output)));
    const struct selftest_cell *cell = selftest_report_cell(&found, "descriptors", SELFTEST_USER);
    selftest_report_set(&t->report, strcmp(user, "root") == 0 ? SELFTEST_ROOT : SELFTEST_USER,
                        "descriptors-terminal", "1",
                        "no descriptor of ours survives into a process with a terminal",
                        cell->verdict, "%s", cell->evidence);
    return 0;
}

/* ---- steps ---- */

struct text_arguments {
    char host_name[80], memory[32], disk[32], pids[16], cpu[16], gateway[64];
};

/* "ADDRESS:PORT" of the default gateway as the sandbox of this pid sees it: the host's near side. */
static bool find_gateway(int pid, char *out, size_t size)
{
    char path[64];
    _cleanup_free_ char *text = NULL;
    snprintf(path, sizeof path, "/proc/%d/net/route", pid);
    if (pid <= 0 || fd_read_file(AT_FDCWD, path, 1 << 16, &text, NULL) < 0)
        return false;
    struct str rest = str_from(text), line;
    while (str_split(&rest, '\n', &line)) {
        unsigned to, gateway;
        char name[32];
        if (sscanf(line.p, "%31s %x %x", name, &to, &gateway) == 3 && to == 0 && gateway) {
            const unsigned char *b = (const unsigned char *)&gateway;
            snprintf(out, size, "%u.%u.%u.%u:%d", b[0], b[1], b[2], b[3], SELFTEST_PORT);
            return true;
        }
    }
    return false;
}

static void add_outside(struct selftest *t, int pid, struct text_arguments *text,
                        struct arguments *a)
{
    gethostname(text->host_name, sizeof text->host_name - 1);
    add(a, "--host-name", text->host_name);
    if (!t->own)
        return;
    add(a, "--host-abstract", t->scene.abstract_name);
    add(a, "--secret", t->server.dir);
    add(a, "--secret", t->server.key);
    if (t->options.templates_dir)
        add(a, "--secret", t->options.templates_dir);
    add(a, "--absent", t->server.dir);
    for (size_t i = 0; selftest_scene_closed[i]; i++)
        add(a, "--closed", selftest_scene_closed[i]);
    if (find_gateway(pid, text->gateway, sizeof text->gateway))
        add(a, "--closed", text->gateway);
    add(a, "--reachable", selftest_scene_reachable);
    add(a, "--resolver", selftest_scene_resolver);
    add(a, "--spoof-to", selftest_scene_reachable);
    if (t->peer_address[0])
        add(a, "--peer", t->peer_address);
}

static struct selftest_outside outside_of(const struct selftest *t,
                                          const struct api_sandbox *sandbox, char *state, char *run,
                                          size_t size)
{
    snprintf(state, size, "%s/state", t->server.dir);
    snprintf(run, size, "%s/run", t->server.dir);
    return (struct selftest_outside){.state_dir = state,
                                     .run_dir = run,
                                     .id = sandbox->id,
                                     .memory_bytes = (uint64_t)MEMORY_MB << 20,
                                     .pids = PIDS,
                                     .cpu_millis = CPU_MILLIS};
}

static int run_static(struct selftest *t, const struct api_sandbox *sandbox, const char *user,
                      int pid, struct err *err)
{
    struct text_arguments text = {0};
    struct arguments a = {.argv = {PROBE_PATH}, .count = 1};
    const struct options *o = &t->options;
    for (size_t i = 0; i < o->group_count; i++)
        if (strcmp(o->groups[i], "limits") != 0)
            add(&a, "--group", o->groups[i]);
    if (o->group_count > 0 && a.count == 1)
        return 0;
    add_outside(t, pid, &text, &a);
    return run_probe(t, sandbox, user, &a, err);
}

static void report_pulse(struct selftest *t, enum selftest_view view,
                         const struct selftest_pulse_result *r)
{
    struct selftest_report *report = &t->report;
    double server_ms = (double)r->server_worst_ns / 1e6, agent_ms = (double)r->agent_worst_ns / 1e6;
    bool good = !r->server_error[0] && server_ms <= SERVER_WORST_MS;
    selftest_report_set(report, view, "server-answers", "8",
                        "the API answers while a sandbox is under attack",
                        good ? SELFTEST_HELD : SELFTEST_OPEN, "worst of %zu: %.1f ms%s%s", r->asked,
                        server_ms, r->server_error[0] ? "; " : "", r->server_error);
    good = !r->agent_error[0] && agent_ms <= AGENT_WORST_MS;
    selftest_report_set(report, view, "agent-answers", "8",
                        "the attacked sandbox's own service answers",
                        good ? SELFTEST_HELD : SELFTEST_OPEN, "worst of %zu: %.1f ms%s%s", r->asked,
                        agent_ms, r->agent_error[0] ? "; " : "", r->agent_error);
    selftest_report_set(
        report, view, "inotify-elsewhere", "9", "the host's own inotify instances stay its own",
        r->inotify_refused ? SELFTEST_OPEN : SELFTEST_HELD, "refused to the host %zu of %zu times",
        r->inotify_refused, r->inotify_asked);
}

static int run_limits(struct selftest *t, const struct api_sandbox *sandbox, const char *user,
                      struct err *err)
{
    struct text_arguments text;
    struct selftest_pulse_result result;
    struct arguments a = {.argv = {PROBE_PATH, "--group", "limits"}, .count = 3};
    if (t->own) {
        snprintf(text.memory, sizeof text.memory, "%llu", (unsigned long long)MEMORY_MB << 20);
        snprintf(text.disk, sizeof text.disk, "%llu", (unsigned long long)DISK_MB << 20);
        snprintf(text.pids, sizeof text.pids, "%d", PIDS);
        snprintf(text.cpu, sizeof text.cpu, "%d", CPU_MILLIS);
        add(&a, "--memory-bytes", text.memory);
        add(&a, "--disk-bytes", text.disk);
        add(&a, "--pids", text.pids);
        add(&a, "--cpu-millis", text.cpu);
    }
    struct selftest_pulse *pulse = selftest_pulse_start(&t->api_options, sandbox, err);
    if (!pulse)
        return -EIO;
    int rc = run_probe(t, sandbox, user, &a, err);
    selftest_pulse_stop(pulse, &result);
    report_pulse(t, strcmp(user, "root") == 0 ? SELFTEST_ROOT : SELFTEST_USER, &result);
    return rc;
}

/* One sandbox, one user: from inside, from outside, under attack, and its end. */
static int test_as(struct selftest *t, const char *user, struct err *err)
{
    struct api_sandbox sandbox;
    char state[128], run[128];
    int rc = api_create(t->api, t->options.template_name, SANDBOX_S, &sandbox, err);
    if (rc < 0)
        return rc;
    const struct selftest_outside outside = outside_of(t, &sandbox, state, run, sizeof state);
    int pid = t->own ? selftest_outside_pid(&outside) : 0;
    rc = upload_probe(t, &sandbox, err);
    if (rc == 0)
        rc = run_static(t, &sandbox, user, pid, err);
    if (rc == 0 && wanted(&t->options, "files"))
        rc = run_on_terminal(t, &sandbox, user, err);
    if (rc == 0 && t->own)
        selftest_outside_look(&outside, &t->report);
    if (rc == 0 && wanted(&t->options, "limits"))
        rc = run_limits(t, &sandbox, user, err);
    int killed = api_kill(t->api, &sandbox, rc == 0 ? err : NULL);
    if (rc == 0 && killed == 0 && t->own)
        selftest_outside_left(&outside, pid, &t->report);
    return rc < 0 ? rc : killed;
}

static bool until_serving(void *arg, bool is_stderr, const char *p, size_t n)
{
    return false; /* its first line is all that matters; it serves on */
}

/* Another sandbox that listens, for the first ones to try to reach. */
static int start_peer(struct selftest *t, struct err *err)
{
    static const char *const argv[] = {PROBE_PATH, "--serve", "0.0.0.0:8099", NULL};
    const struct api_process process = {.user = "user", .argv = argv, .output = until_serving};
    int code;
    int rc = api_create(t->api, t->options.template_name, SANDBOX_S, &t->peer, err);
    if (rc == 0)
        rc = upload_probe(t, &t->peer, err);
    return rc < 0 ? rc : api_run(t->api, &t->peer, &process, &code, NULL, err);
}

/* The peer's address, which only its side of the link knows. */
static void find_peer_address(struct selftest *t)
{
    char state[128], run[128], path[64];
    const struct selftest_outside outside = outside_of(t, &t->peer, state, run, sizeof state);
    _cleanup_free_ char *text = NULL;
    snprintf(path, sizeof path, "/proc/%d/net/fib_trie", selftest_outside_pid(&outside));
    if (fd_read_file(AT_FDCWD, path, 1 << 16, &text, NULL) < 0)
        return;
    /* "|-- ADDRESS" followed by "/32 host LOCAL" */
    struct str rest = str_from(text), line, last = STR("");
    while (str_split(&rest, '\n', &line)) {
        const char *leaf = memmem(line.p, line.len, "|-- ", 4);
        if (leaf) {
            last = (struct str){leaf + 4, line.len - (size_t)(leaf + 4 - line.p)};
        } else if (memmem(line.p, line.len, "/32 host LOCAL", 14) &&
                   !str_starts(last, STR("127."))) {
            snprintf(t->peer_address, sizeof t->peer_address, "%.*s:%d", STR_ARG(last),
                     SELFTEST_PORT);
            return;
        }
    }
}

/* What the probe sent under false names: only the world knows whether it came through. */
static void judge_spoofing(struct selftest *t)
{
    char seen[256];
    if (!t->own)
        return;
    selftest_scene_spoofed(&t->scene, seen, sizeof seen);
    for (enum selftest_view view = SELFTEST_USER; view <= SELFTEST_ROOT; view++) {
        const struct selftest_cell *cell = selftest_report_cell(&t->report, "spoofing", view);
        if (cell && cell->verdict == SELFTEST_UNKNOWN && strstr(cell->evidence, " sent")) {
            _cleanup_free_ char *sent = xstrdup(cell->evidence);
            selftest_report_set(&t->report, view, "spoofing", "", "",
                                seen[0] ? SELFTEST_OPEN : SELFTEST_HELD, "%s, %s", sent,
                                seen[0] ? seen : "none arrived");
        }
    }
}

static int test_all(struct selftest *t, struct err *err)
{
    int rc = 0;
    if (t->own) {
        rc = start_peer(t, err);
        if (rc == 0)
            find_peer_address(t);
    }
    if (rc == 0)
        rc = test_as(t, "user", err);
    if (rc == 0)
        rc = test_as(t, "root", err);
    if (t->peer.id[0])
        api_kill(t->api, &t->peer, NULL);
    judge_spoofing(t);
    return rc;
}

static int start(struct selftest *t, struct err *err)
{
    const struct selftest_server_options options = {.templates_dir = t->options.templates_dir,
                                                    .weaken = t->options.weaken,
                                                    .memory_mb = MEMORY_MB,
                                                    .pids = PIDS,
                                                    .disk_mb = DISK_MB,
                                                    .cpus = CPUS_TEXT};
    t->api_options =
        (struct api_options){.url = t->options.url, .key = t->options.key, .timeout_s = REQUEST_S};
    int rc = load_probe(t, err);
    if (rc == 0)
        rc = list_probes(t, err);
    if (rc == 0)
        rc = choose_groups(t, err);
    if (rc == 0 && t->own) {
        if (geteuid() != 0)
            return err_set(err, ERR_DENIED, 0, "a server of its own needs root (or use --url)");
        rc = selftest_scene_open(t->probe_fd, &t->scene, err);
        if (rc == 0)
            rc = selftest_server_start(&options, &t->server, err);
        t->api_options.url = t->server.url;
        t->api_options.key = t->server.key;
    }
    if (rc < 0)
        return rc;
    t->api = api_new(&t->api_options, err);
    return t->api ? 0 : -EIO;
}

static void finish(struct selftest *t)
{
    struct err err = {.message = "it failed"};
    api_free(t->api);
    if (t->server.dir[0]) {
        int status = selftest_server_stop(&t->server, &err);
        selftest_report_set(&t->report, SELFTEST_OUTSIDE, "server-stops", "13",
                            "the server ends in order", status == 0 ? SELFTEST_HELD : SELFTEST_OPEN,
                            "exit status %d%s%s", status, status < 0 ? ": " : "",
                            status < 0 ? err.message : "");
    }
    selftest_scene_close(&t->scene);
    fd_closep(&t->probe_fd);
}

static void print(const struct selftest *t, int64_t ns)
{
    if (!t->options.json) {
        selftest_report_print(&t->report, stdout);
        printf("%.1f s\n", (double)ns / 1e9);
        return;
    }
    json_t *json = selftest_report_json(&t->report);
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

int command_selftest(int argc, char **argv)
{
    struct selftest t = {.probe_fd = -1, .scene = {.world_out = -1, .abstract_fd = -1}};
    struct err err = {0};
    int64_t begun = clock_mono_ns();
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    if (parse(argc, argv, &t.options) < 0) {
        usage(stderr);
        return 2;
    }
    t.own = !t.options.url;
    int rc = start(&t, &err);
    if (rc == 0)
        rc = test_all(&t, &err);
    if (rc < 0)
        fprintf(stderr, "carrel selftest: %s\n", err.message);
    bool began = t.api != NULL;
    finish(&t);
    if (began)
        print(&t, clock_mono_ns() - begun);
    bool good = rc == 0 && selftest_report_good(&t.report);
    selftest_report_done(&t.report);
    return good ? 0 : rc < 0 && err.code != ERR_OK ? err_exit_status(err.code) : 1;
}
