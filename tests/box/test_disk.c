/* SPDX-License-Identifier: Apache-2.0 */
/* Disk limits of real sandboxes: that they bind, by whatever this host has, for whom, and what the
 * guard does where they do not. Needs root; argument: the probe's init. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "harness.h"

enum { LIMIT_MIB = 48, SMALL_DISK_MIB = 192 };

static const char *image;
static const struct launcher_limits limits = {256 << 20, 1000, 64, (uint64_t)LIMIT_MIB << 20};

/* ---- tools ---- */

static int set_up_with(void **state, enum box_disk disk)
{
    struct harness *h = xcalloc(1, sizeof *h);
    harness_open(h, image);
    h->options.disk = disk;
    *state = h;
    return harness_start(h) ? 0 : -1;
}

static int set_up(void **state)
{
    return set_up_with(state, BOX_DISK_AUTO);
}

static int set_up_guard(void **state)
{
    return set_up_with(state, BOX_DISK_GUARD);
}

static int tear_down(void **state)
{
    struct harness *h = *state;
    bool clean = harness_clean(h);
    harness_close(h);
    free(h);
    return clean ? 0 : -1;
}

static void create(struct harness *h, const char *id)
{
    struct launcher_reply reply;
    uint64_t serial = harness_send(h, LAUNCHER_CREATE, id, "tiny", &limits, "{}");
    assert_true(harness_reply(h, serial, &reply));
    assert_string_equal(reply.message, "");
}

static void destroy(struct harness *h, const char *id)
{
    assert_int_equal(harness_call(h, LAUNCHER_DESTROY, id).code, 0);
}

static void must_answer(struct harness *h, const char *id, const char *line, const char *expected)
{
    const char *answer = harness_ask(h, id, line);
    assert_non_null(answer);
    assert_string_equal(answer, expected);
}

/* How many the sandbox could make of what it was asked to, and whether the disk stopped it. */
static unsigned ask_many(struct harness *h, const char *id, const char *line, bool *ret_full)
{
    unsigned n = 0;
    char error[64] = "";
    const char *answer = harness_ask(h, id, line);
    assert_non_null(answer);
    assert_int_equal(sscanf(answer, "%u %63[^\n]", &n, error), 2);
    *ret_full = strcmp(error, "Disk quota exceeded") == 0 ||
                strcmp(error, "No space left on device") == 0;
    if (!*ret_full)
        assert_string_equal(error, "ok");
    return n;
}

static void must_fill(struct harness *h, const char *id)
{
    bool full;
    unsigned mib = ask_many(h, id, "fill /big 200", &full);
    assert_true(full);
    assert_in_range(mib, LIMIT_MIB / 2, LIMIT_MIB);
}

/* Whether limits can bind here; said aloud if not, and the guard has tests of its own. */
static bool binds(struct harness *h)
{
    bool full;
    create(h, "trial");
    ask_many(h, "trial", "fill /big 64", &full);
    destroy(h, "trial");
    if (!full)
        print_message("# this host has nothing that binds disk limits\n");
    return full;
}

/* ---- limits ---- */

static void test_full_is_full_for_one(void **state)
{
    struct harness *h = *state;
    bool full;
    if (!binds(h))
        return;
    create(h, "one");
    create(h, "two");
    must_fill(h, "one"); /* as root inside */
    must_answer(h, "one", "echo here", "here\n");
    assert_int_equal(ask_many(h, "two", "fill /big 16", &full), 16);
    assert_false(full);
    struct launcher_reply reply = harness_call(h, LAUNCHER_USAGE, "one");
    assert_in_range(reply.usage.disk_bytes, (LIMIT_MIB / 2) << 20, (LIMIT_MIB + 1) << 20);
    /* Room that is made is there at once. */
    must_answer(h, "one", "remove /big", "ok\n");
    assert_int_equal(ask_many(h, "one", "fill /other 16", &full), 16);
    assert_false(full);
    destroy(h, "one");
    destroy(h, "two");
}

static void test_files_are_bounded(void **state)
{
    struct harness *h = *state;
    bool full;
    if (!binds(h))
        return;
    create(h, "one");
    must_answer(h, "one", "mkdir /many", "ok\n");
    /* Full of contents, there is no room for many without any. */
    must_fill(h, "one");
    unsigned n = ask_many(h, "one", "files /many 200000", &full);
    assert_true(full);
    assert_true(n < 100000);
    must_answer(h, "one", "echo here", "here\n");
    destroy(h, "one");
}

/* What the launcher keeps about a sandbox does not need the sandbox's room; the next launcher finds
 * it, its files and its limit. */
static void test_a_full_one_is_adopted(void **state)
{
    struct harness *h = *state;
    bool full;
    if (!binds(h))
        return;
    create(h, "one");
    must_fill(h, "one");
    assert_int_equal(harness_call(h, LAUNCHER_NETWORK, "one").code, 0);
    harness_kill(h);
    must_answer(h, "one", "echo here", "here\n");
    assert_true(harness_start(h));
    assert_int_equal(harness_list(h), 1);
    assert_int_equal(ask_many(h, "one", "fill /more 16", &full), 0);
    assert_true(full);
    create(h, "two");
    assert_int_equal(ask_many(h, "two", "fill /big 16", &full), 16);
    struct launcher_reply reply = harness_call(h, LAUNCHER_USAGE, "one");
    assert_in_range(reply.usage.disk_bytes, (LIMIT_MIB / 2) << 20, (LIMIT_MIB + 1) << 20);
    must_answer(h, "one", "remove /big", "ok\n");
    assert_int_equal(ask_many(h, "one", "fill /more 16", &full), 16);
    destroy(h, "one");
    destroy(h, "two");
}

/* Loop devices whose file is this one. */
static unsigned count_loops(const struct stat *file)
{
    unsigned n = 0;
    DIR *dir = opendir("/sys/block");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[300];
        struct loop_info64 info;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        int fd = strncmp(entry->d_name, "loop", 4) == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        n += fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
             info.lo_device == file->st_dev && info.lo_inode == file->st_ino;
        if (fd >= 0)
            close(fd);
    }
    closedir(dir);
    return n;
}

static struct stat watched;
static bool no_loops(void *arg)
{
    return count_loops(&watched) == 0;
}

static void test_an_image_leaves_nothing(void **state)
{
    struct harness *h = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/sandboxes.img", h->state);
    if (stat(path, &watched) < 0) {
        print_message("# there is no image here\n");
        return;
    }
    assert_int_equal(count_loops(&watched), 1);
    create(h, "one");
    harness_kill(h); /* the sandbox lives in it still */
    assert_int_equal(count_loops(&watched), 1);
    assert_true(harness_start(h));
    destroy(h, "one");
    assert_true(harness_clean(h));
    harness_stop(h);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(harness_wait(no_loops, NULL));
    /* Killed without sandboxes: the device goes by itself, the file with the next start. */
    assert_true(harness_start(h));
    assert_int_equal(stat(path, &watched), 0);
    harness_kill(h);
    assert_true(harness_wait(no_loops, NULL));
    assert_true(harness_start(h));
    create(h, "one");
    destroy(h, "one");
}

/* ---- the guard ---- */

static void must_be_ended(struct harness *h, const char *id, const char *why)
{
    struct launcher_reply reply;
    do
        assert_true(harness_next(h, &reply));
    while (reply.op != LAUNCHER_GONE);
    assert_string_equal(reply.id, id);
    if (!strstr(reply.message, why))
        fail_msg("\"%s\"", reply.message);
}

static void test_guard_ends_who_has_too_much(void **state)
{
    struct harness *h = *state;
    bool full;
    create(h, "good");
    create(h, "bad");
    assert_int_equal(ask_many(h, "good", "fill /big 16", &full), 16);
    assert_int_equal(ask_many(h, "bad", "fill /big 64", &full), 64);
    must_be_ended(h, "bad", "more than its disk limit");
    assert_int_equal(harness_list(h), 1);
    must_answer(h, "good", "echo here", "here\n");
    destroy(h, "good");
}

/* A state directory on a disk that is small enough to fill. */
static int set_up_small_disk(void **state)
{
    struct harness *h = xcalloc(1, sizeof *h);
    char size[32];
    harness_open(h, image);
    h->options.disk = BOX_DISK_GUARD;
    *state = h;
    snprintf(size, sizeof size, "size=%dm,mode=755", SMALL_DISK_MIB);
    if (path_make_dirs(h->state, 0755) < 0 || mount("tmpfs", h->state, "tmpfs", 0, size) < 0)
        return -1;
    return harness_start(h) ? 0 : -1;
}

/* But for the mount that is our own. */
static bool is_clean(void *arg)
{
    struct harness_remains r = harness_remains(arg);
    return !r.directories && !r.sockets && !r.cgroups && r.mounts == 1;
}

static int tear_down_small_disk(void **state)
{
    struct harness *h = *state;
    bool clean = harness_wait(is_clean, h);
    harness_stop(h);
    umount2(h->state, MNT_DETACH);
    harness_close(h);
    free(h);
    return clean ? 0 : -1;
}

static void test_guard_keeps_the_host_from_filling(void **state)
{
    static const struct launcher_limits no_disk_limit = {512 << 20, 1000, 64, 0};
    struct harness *h = *state;
    struct launcher_reply reply;
    bool full;
    create(h, "good");
    assert_int_equal(ask_many(h, "good", "fill /big 16", &full), 16);
    uint64_t serial = harness_send(h, LAUNCHER_CREATE, "bad", "tiny", &no_disk_limit, "{}");
    assert_true(harness_reply(h, serial, &reply));
    assert_int_equal(reply.code, 0);
    ask_many(h, "bad", "fill /big 400", &full);
    assert_true(full);
    must_be_ended(h, "bad", "the host's disk is full");
    must_answer(h, "good", "echo here", "here\n");
    destroy(h, "good");
    assert_true(harness_wait(is_clean, h));
    create(h, "next"); /* there is room again */
    destroy(h, "next");
}

static bool is_refused(void *arg)
{
    struct harness *h = arg;
    struct launcher_reply reply;
    uint64_t serial = harness_send(h, LAUNCHER_CREATE, "more", "tiny", &limits, "{}");
    if (!harness_reply(h, serial, &reply) || reply.code == 0) {
        destroy(h, "more");
        return false;
    }
    assert_int_equal(reply.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(reply.message, "the disk of the host is full"));
    return true;
}

/* Who filled it is not a sandbox: nobody is ended, but nobody new is made. */
static void test_a_full_host_takes_no_more(void **state)
{
    struct harness *h = *state;
    char path[128];
    bool full;
    create(h, "old");
    assert_int_equal(ask_many(h, "old", "fill /big 4", &full), 4);
    struct statvfs fs;
    assert_int_equal(statvfs(h->state, &fs), 0);
    snprintf(path, sizeof path, "%s/other", h->state);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    off_t most = (off_t)(fs.f_bavail * fs.f_frsize) - (4 << 20);
    assert_int_equal(posix_fallocate(fd, 0, most), 0);
    assert_true(harness_wait(is_refused, h));
    must_answer(h, "old", "echo here", "here\n");
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    create(h, "new"); /* at once */
    destroy(h, "new");
    destroy(h, "old");
}

int main(int argc, char **argv)
{
    if (geteuid() != 0 || argc < 2) {
        puts("1..0 # SKIP needs root and the probe's init as argument");
        return 0;
    }
    image = argv[1];
    /* What is mounted here is nobody else's, and goes with us. */
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        puts("1..0 # SKIP needs a mount namespace");
        return 0;
    }
#define TEST(f)       cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define GUARD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up_guard, tear_down)
#define SMALL_TEST(f) cmocka_unit_test_setup_teardown(f, set_up_small_disk, tear_down_small_disk)
    const struct CMUnitTest tests[] = {
        TEST(test_full_is_full_for_one),
        TEST(test_files_are_bounded),
        TEST(test_a_full_one_is_adopted),
        TEST(test_an_image_leaves_nothing),
        GUARD_TEST(test_guard_ends_who_has_too_much),
        SMALL_TEST(test_guard_keeps_the_host_from_filling),
        SMALL_TEST(test_a_full_host_takes_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
