/* SPDX-License-Identifier: Apache-2.0 */
/* Kits made in advance: used once, by one sandbox; thrown away without a trace; and a launcher that
 * dies with some of them ready. Needs root; argument: the probe's init. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "box/plan.h"
#include "harness.h"

enum { POOL = 3 };

static const char *image;
static const struct launcher_limits limits = {64 << 20, 1000, 64, 0};

/* Entries of <state>/ready and <run>/.ready: of each kit there is one in both. */
static unsigned count_kits(const struct harness *h, const char *below)
{
    char path[128];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s", below ? below : "");
    if (!below)
        snprintf(path, sizeof path, "%s/ready", h->state);
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static bool pool_is_full(void *arg)
{
    struct harness *h = arg;
    char path[128];
    snprintf(path, sizeof path, "%s/.ready", h->run);
    return count_kits(h, NULL) == h->options.net_pool && count_kits(h, path) == h->options.net_pool;
}

static int set_up(void **state)
{
    struct harness *h = xcalloc(1, sizeof *h);
    harness_open(h, image);
    h->options.net_pool = POOL;
    *state = h;
    return harness_start(h) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct harness *h = *state;
    bool clean = harness_clean(h);
    char path[128];
    snprintf(path, sizeof path, "%s/.ready", h->run);
    harness_stop(h);
    clean = clean && count_kits(h, NULL) == 0 && access(path, F_OK) < 0;
    harness_close(h);
    free(h);
    return clean ? 0 : -1;
}

static uint64_t ask(struct harness *h, const char *id)
{
    return harness_send_online(h, LAUNCHER_CREATE, id, "tiny", &limits, "{}");
}

static void create(struct harness *h, const char *id)
{
    struct launcher_reply reply;
    assert_true(harness_reply(h, ask(h, id), &reply));
    assert_string_equal(reply.message, "");
}

static void assert_answer(struct harness *h, const char *id, const char *line, const char *expected)
{
    const char *answer = harness_ask(h, id, line);
    assert_non_null(answer);
    assert_string_equal(answer, expected);
}

static ino_t network_of(const struct harness *h, pid_t pid)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

/* More at once than there are kits: each gets one of its own, whoever made it when. */
static void test_one_each(void **state)
{
    struct harness *h = *state;
    enum { MANY = 4 * POOL };
    ino_t networks[MANY];
    char id[32];
    assert_true(harness_wait(pool_is_full, h));
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "k%d", i);
        ask(h, id);
    }
    for (int i = 0; i < MANY; i++) {
        struct launcher_reply reply;
        assert_true(harness_next(h, &reply));
        assert_string_equal(reply.message, "");
        networks[i] = network_of(h, reply.pid);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(networks[i], networks[k]);
    }
    for (int i = 0; i < MANY; i++) {
        char line[64];
        snprintf(id, sizeof id, "k%d", i);
        snprintf(line, sizeof line, "stat /mine%d", i);
        assert_answer(h, id, line, "error No such file or directory\n");
        snprintf(line, sizeof line, "write /mine%d", i);
        assert_answer(h, id, line, "ok\n");
    }
    assert_true(harness_wait(pool_is_full, h));
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "k%d", i);
        assert_int_equal(harness_call(h, LAUNCHER_DESTROY, id).code, 0);
    }
}

/* The launcher's death leaves directories of kits; the next one starts without them. */
static void test_launcher_killed(void **state)
{
    struct harness *h = *state;
    create(h, "one");
    assert_true(harness_wait(pool_is_full, h));
    harness_kill(h);
    h->options.net_pool = 0;
    assert_true(harness_start(h));
    assert_int_equal(count_kits(h, NULL), 0);
    assert_answer(h, "one", "echo x", "x\n");
    /* In the slots that the lost kits had. */
    create(h, "two");
    create(h, "three");
    assert_answer(h, "three", "echo x", "x\n");
    assert_int_equal(harness_call(h, LAUNCHER_DESTROY, "one").code, 0);
    assert_int_equal(harness_call(h, LAUNCHER_DESTROY, "two").code, 0);
    assert_int_equal(harness_call(h, LAUNCHER_DESTROY, "three").code, 0);
}

static void test_destroy_while_waiting(void **state)
{
    struct harness *h = *state;
    for (int i = 0; i < 40; i++) {
        char id[32];
        snprintf(id, sizeof id, "n%d", i);
        uint64_t made = ask(h, id);
        uint64_t ended = harness_send(h, LAUNCHER_DESTROY, id, NULL, NULL, NULL);
        unsigned seen = 0;
        struct launcher_reply reply;
        while (seen != 3 && harness_next(h, &reply)) {
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

/* A stop with creations waiting for kits. */
static void test_stop_while_waiting(void **state)
{
    struct harness *h = *state;
    for (int round = 0; round < 10; round++) {
        char id[32];
        for (int i = 0; i < 3 * POOL; i++) {
            snprintf(id, sizeof id, "s%dn%d", round, i);
            ask(h, id);
        }
        struct launcher_reply reply;
        for (int i = 0; i < round % 4; i++)
            assert_true(harness_next(h, &reply));
        harness_stop(h);
        assert_int_equal(count_kits(h, NULL), 0);
        assert_true(harness_start(h));
        for (int i = 0; i < 3 * POOL; i++) {
            snprintf(id, sizeof id, "s%dn%d", round, i);
            assert_int_equal(harness_call(h, LAUNCHER_DESTROY, id).code, 0);
        }
        assert_true(harness_clean(h));
    }
}

/* A line "step who: what" as "who: what" and NUL; how long that is. */
static size_t copy_step(char *out, struct str line)
{
    size_t n = line.len - 5;
    memcpy(out, line.p + 5, n);
    out[n] = '\0';
    return n + 1;
}

/* A failure inside a mount is named by the mount's target. */
static bool names(const char *message, const char *step)
{
    const char *what = strchr(step, ':') + 2;
    return strstr(message, strcmp(step, "inside: mounts") == 0 ? "mount " : what) != NULL;
}

/* The steps as `carrel create --dry-run` prints them, each "who: step" and NUL. */
static char *list_steps(void)
{
    const struct box_layout layout = {.state_dir = "/s",
                                      .run_dir = "/r",
                                      .templates_dir = "/t",
                                      .cgroup_parent = "c",
                                      .nofile_max = 1024};
    const struct box_spec spec = {.id = "i", .template_name = "tiny", .allow_internet = true};
    static struct box_plan plan;
    struct buf text;
    struct err err;
    buf_init(&text, 65536);
    assert_int_equal(box_plan_make(&layout, &spec, 0, &plan, &err), 0);
    assert_int_equal(box_plan_print(&plan, &text), 0);
    struct str rest = buf_str(&text), line;
    char *list = xcalloc(1, buf_len(&text) + 2), *end = list;
    while (str_split(&rest, '\n', &line))
        if (str_starts(line, STR("step ")))
            end += copy_step(end, line);
    buf_done(&text);
    return list;
}

/* Whatever step fails, who waits is told which, and nothing is left. Kits that fail are nobody's
 * business until somebody waits for one. */
static void test_failing_steps(void **state)
{
    struct harness *h = *state;
    _cleanup_free_ char *steps = list_steps();
    unsigned count = 0;
    for (const char *step = steps; *step; step += strlen(step) + 1, count++) {
        harness_stop(h);
        h->options.fail_step = step;
        assert_true(harness_start(h));
        for (int k = 0; k < POOL + 1; k++) {
            struct launcher_reply reply;
            assert_true(harness_reply(h, ask(h, "one"), &reply));
            if (reply.code == 0 || !names(reply.message, step))
                fail_msg("%s: code %u \"%s\"", step, reply.code, reply.message);
            assert_true(harness_clean(h));
        }
    }
    assert_true(count > 20);
    harness_stop(h);
    h->options.fail_step = NULL;
    assert_true(harness_start(h));
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
        TEST(test_one_each),           TEST(test_launcher_killed), TEST(test_destroy_while_waiting),
        TEST(test_stop_while_waiting), TEST(test_failing_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
