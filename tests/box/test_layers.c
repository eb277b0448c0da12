/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots and parked sandboxes: what stands on what, and what is left of it when somebody dies in
 * the middle. Needs root; argument: the probe's init. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "harness.h"

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
        fprintf(stderr, "left: directories %u sockets %u cgroups %u mounts %u snapshots %u\n",
                r.directories, r.sockets, r.cgroups, r.mounts, r.snapshots);
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

static const char *const missing = "error No such file or directory\n";
static const char *const there = "uid 0 gid 0 mode 100644\n";

static uint32_t based(struct harness *h, enum launcher_op op, const char *id, const char *base,
                      bool again)
{
    struct launcher_reply reply;
    assert_true(harness_reply(h, harness_send_based(h, op, id, base, again), &reply));
    if (reply.code)
        print_message("# %s\n", reply.message);
    return reply.code;
}

static void create_on(struct harness *h, const char *id, const char *base)
{
    assert_int_equal(based(h, LAUNCHER_CREATE, id, base, false), 0);
}

static void snapshot(struct harness *h, const char *id, const char *name)
{
    assert_int_equal(based(h, LAUNCHER_SNAPSHOT, id, name, false), 0);
}

static void call(struct harness *h, enum launcher_op op, const char *id)
{
    struct launcher_reply reply = harness_call(h, op, id);
    assert_string_equal(reply.message, "");
    assert_int_equal(reply.code, 0);
}

/* The state in which LIST names it, or -1. */
static int listed(struct harness *h, const char *id)
{
    struct launcher_reply reply;
    int found = -1;
    uint64_t serial = harness_send(h, LAUNCHER_LIST, "", NULL, NULL, NULL);
    while (harness_reply(h, serial, &reply) && reply.more)
        if (strcmp(reply.id, id) == 0)
            found = (int)reply.state;
    return found;
}

/* More generations than can stand on each other: one of them is made whole. */
static void test_generations(void **state)
{
    struct harness *h = *state;
    enum { GENERATIONS = 11 };
    char id[16], name[16], line[32];
    create_on(h, "g0", "");
    for (int i = 0; i < GENERATIONS; i++) {
        snprintf(id, sizeof id, "g%d", i);
        snprintf(name, sizeof name, "s%d", i);
        snprintf(line, sizeof line, "write /f%d", i);
        assert_answer(h, id, line, "ok\n");
        snapshot(h, id, name);
        assert_answer(h, id, "write /late", "ok\n");
        call(h, LAUNCHER_DESTROY, id);
        snprintf(id, sizeof id, "g%d", i + 1);
        create_on(h, id, name);
        call(h, LAUNCHER_DROP, name);
        assert_int_equal(listed(h, name), -1);
        for (int k = 0; k <= GENERATIONS; k++) {
            snprintf(line, sizeof line, "stat /f%d", k);
            assert_answer(h, id, line, k <= i ? there : missing);
        }
        assert_answer(h, id, "stat /late", missing);
        assert_answer(h, id, "stat /bin", "uid 0 gid 0 mode 40755\n");
    }
    assert_int_equal(based(h, LAUNCHER_CREATE, "no", "s3", false), ERR_NOT_FOUND);
    harness_kill(h);
    assert_true(harness_start(h));
    assert_answer(h, id, "stat /f0", there);
    /* With the last that stands on them all of them go (tear_down). */
    call(h, LAUNCHER_DESTROY, id);
}

static void test_refusals(void **state)
{
    struct harness *h = *state;
    create_on(h, "one", "");
    snapshot(h, "one", "snap");
    assert_int_equal(based(h, LAUNCHER_SNAPSHOT, "one", "snap", false), ERR_EXISTS);
    assert_int_equal(based(h, LAUNCHER_SNAPSHOT, "one", "../x", false), ERR_INVALID);
    assert_int_equal(based(h, LAUNCHER_SNAPSHOT, "two", "other", false), ERR_NOT_FOUND);
    assert_int_equal(based(h, LAUNCHER_CREATE, "two", "nothing", false), ERR_NOT_FOUND);
    assert_int_equal(based(h, LAUNCHER_CREATE, "two", "", true), ERR_NOT_FOUND);
    assert_int_equal(based(h, LAUNCHER_CREATE, "one", "", true), ERR_EXISTS);
    assert_int_equal(harness_call(h, LAUNCHER_PARK, "two").code, ERR_NOT_FOUND);
    call(h, LAUNCHER_DROP, "snap");
    call(h, LAUNCHER_DROP, "snap");
    call(h, LAUNCHER_DROP, "nothing");
    call(h, LAUNCHER_DESTROY, "one");
}

/* A snapshot of one that is paused leaves it so. */
static void test_frozen(void **state)
{
    struct harness *h = *state;
    create_on(h, "one", "");
    call(h, LAUNCHER_FREEZE, "one");
    snapshot(h, "one", "snap");
    assert_int_equal(listed(h, "one"), LAUNCHER_FROZEN);
    call(h, LAUNCHER_THAW, "one");
    assert_answer(h, "one", "echo x", "x\n");
    call(h, LAUNCHER_DROP, "snap");
    call(h, LAUNCHER_DESTROY, "one");
}

static void test_parked(void **state)
{
    struct harness *h = *state;
    create_on(h, "one", "");
    for (int i = 0; i < 3; i++) {
        char line[32];
        snprintf(line, sizeof line, "write /f%d", i);
        assert_answer(h, "one", line, "ok\n");
        if (i == 1)
            call(h, LAUNCHER_FREEZE, "one");
        call(h, LAUNCHER_PARK, "one");
        call(h, LAUNCHER_PARK, "one");
        assert_int_equal(listed(h, "one"), LAUNCHER_PARKED);
        assert_int_equal(harness_call(h, LAUNCHER_THAW, "one").code, ERR_NOT_FOUND);
        assert_int_equal(harness_remains(h).sockets, 0);
        assert_int_equal(harness_remains(h).cgroups, 0);
        if (i == 2) {
            harness_kill(h);
            assert_true(harness_start(h));
        }
        assert_int_equal(based(h, LAUNCHER_CREATE, "one", "", true), 0);
        for (int k = 0; k <= i; k++) {
            snprintf(line, sizeof line, "stat /f%d", k);
            assert_answer(h, "one", line, there);
        }
        assert_int_equal(listed(h, "one"), LAUNCHER_RUNNING);
    }
    call(h, LAUNCHER_PARK, "one");
    call(h, LAUNCHER_DESTROY, "one");
    assert_int_equal(listed(h, "one"), -1);
}

static void test_parked_on_a_snapshot(void **state)
{
    struct harness *h = *state;
    create_on(h, "one", "");
    assert_answer(h, "one", "write /below", "ok\n");
    snapshot(h, "one", "snap");
    create_on(h, "two", "snap");
    call(h, LAUNCHER_PARK, "two");
    call(h, LAUNCHER_DROP, "snap");
    harness_kill(h);
    assert_true(harness_start(h));
    assert_int_equal(based(h, LAUNCHER_CREATE, "two", "", true), 0);
    assert_answer(h, "two", "stat /below", there);
    call(h, LAUNCHER_DESTROY, "one");
    call(h, LAUNCHER_DESTROY, "two");
}

/* Whatever step of a cold start fails, the files stay. */
static void test_cold_start_that_fails(void **state)
{
    struct harness *h = *state;
    static const char *const steps[] = {"launcher: place directory", "launcher: cgroups",
                                        "launcher: zygote", "inside: mounts",
                                        "inside: capabilities"};
    create_on(h, "one", "");
    assert_answer(h, "one", "write /kept", "ok\n");
    call(h, LAUNCHER_PARK, "one");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        harness_stop(h);
        h->options.fail_step = steps[i];
        assert_true(harness_start(h));
        assert_int_not_equal(based(h, LAUNCHER_CREATE, "one", "", true), 0);
    }
    harness_stop(h);
    h->options.fail_step = NULL;
    assert_true(harness_start(h));
    assert_int_equal(listed(h, "one"), LAUNCHER_PARKED);
    assert_int_equal(based(h, LAUNCHER_CREATE, "one", "", true), 0);
    assert_answer(h, "one", "stat /kept", there);
    call(h, LAUNCHER_DESTROY, "one");
}

/* ---- deaths in the middle ---- */

/* Enough for a copy to take some time. */
static void fill(struct harness *h, const char *id)
{
    char below[64], dir[160], path[200];
    snprintf(below, sizeof below, "files/%s/upper", id);
    harness_disk_path(h, below, dir, sizeof dir);
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof path, "%s/file%d", dir, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        close(fd);
    }
}

static void test_killed_while_copying(void **state)
{
    struct harness *h = *state;
    create_on(h, "one", "");
    fill(h, "one");
    for (int i = 0; i < 3; i++) {
        harness_send_based(h, LAUNCHER_SNAPSHOT, "one", "snap", false);
        assert_non_null(harness_ask(h, "one", "echo x") ?: "stands still");
        harness_kill(h);
        assert_true(harness_start(h));
        assert_answer(h, "one", "echo x", "x\n");
        assert_int_equal(listed(h, "one"), LAUNCHER_RUNNING);
        if (listed(h, "snap") >= 0) /* it was quicker */
            call(h, LAUNCHER_DROP, "snap");
    }
    call(h, LAUNCHER_DESTROY, "one");
}

static void test_destroyed_while_copying(void **state)
{
    struct harness *h = *state;
    struct launcher_reply reply;
    create_on(h, "one", "");
    fill(h, "one");
    uint64_t serial = harness_send_based(h, LAUNCHER_SNAPSHOT, "one", "snap", false);
    uint64_t end = harness_send(h, LAUNCHER_DESTROY, "one", NULL, NULL, NULL);
    unsigned answers = 0;
    while (answers < 2 && harness_next(h, &reply))
        answers += reply.serial == serial || reply.serial == end;
    assert_int_equal(answers, 2);
    call(h, LAUNCHER_DROP, "snap");
}

static bool is_parked(void *arg)
{
    return listed(arg, "one") == LAUNCHER_PARKED;
}

static void test_killed_while_parking(void **state)
{
    struct harness *h = *state;
    create_on(h, "one", "");
    for (int i = 0; i < 3; i++) {
        assert_answer(h, "one", "write /kept", "ok\n");
        harness_send(h, LAUNCHER_PARK, "one", NULL, NULL, NULL);
        usleep((useconds_t)i * 500);
        harness_kill(h);
        assert_true(harness_start(h));
        if (listed(h, "one") == LAUNCHER_RUNNING) /* the message had not been read */
            call(h, LAUNCHER_PARK, "one");
        assert_true(harness_wait(is_parked, h));
        assert_int_equal(based(h, LAUNCHER_CREATE, "one", "", true), 0);
        assert_answer(h, "one", "stat /kept", there);
    }
    call(h, LAUNCHER_DESTROY, "one");
}

static void test_destroyed_while_parking(void **state)
{
    struct harness *h = *state;
    struct launcher_reply reply;
    create_on(h, "one", "");
    uint64_t park = harness_send(h, LAUNCHER_PARK, "one", NULL, NULL, NULL);
    uint64_t end = harness_send(h, LAUNCHER_DESTROY, "one", NULL, NULL, NULL);
    unsigned answers = 0;
    while (answers < 2 && harness_next(h, &reply))
        answers += reply.serial == park || reply.serial == end;
    assert_int_equal(answers, 2);
    assert_true(harness_clean(h));
}

static void test_killed_while_starting_again(void **state)
{
    struct harness *h = *state;
    create_on(h, "one", "");
    assert_answer(h, "one", "write /kept", "ok\n");
    for (int i = 0; i < 5; i++) {
        call(h, LAUNCHER_PARK, "one");
        harness_send_based(h, LAUNCHER_CREATE, "one", "", true);
        usleep((useconds_t)i * 1000);
        harness_kill(h);
        assert_true(harness_start(h));
        int found = listed(h, "one");
        assert_true(found == LAUNCHER_PARKED || found == LAUNCHER_RUNNING);
        if (found == LAUNCHER_PARKED)
            assert_int_equal(based(h, LAUNCHER_CREATE, "one", "", true), 0);
        assert_answer(h, "one", "stat /kept", there);
    }
    call(h, LAUNCHER_DESTROY, "one");
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
        TEST(test_generations),
        TEST(test_refusals),
        TEST(test_frozen),
        TEST(test_parked),
        TEST(test_parked_on_a_snapshot),
        TEST(test_cold_start_that_fails),
        TEST(test_killed_while_copying),
        TEST(test_destroyed_while_copying),
        TEST(test_killed_while_parking),
        TEST(test_destroyed_while_parking),
        TEST(test_killed_while_starting_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
