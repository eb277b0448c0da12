/* SPDX-License-Identifier: Apache-2.0 */
/* The host layer over made-up templates, friendly and hostile. Needs root, as the layer does. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "box/ns/hostlayer.h"

#define CERT(body) "-----BEGIN CERTIFICATE-----\n" body "\n-----END CERTIFICATE-----\n"
#define BUNDLE     "etc/ssl/certs/ca-certificates.crt"
#define LOCAL      "usr/local/share/ca-certificates/"

/* A temporary directory, the current one during a test: "t" is the template, "layer" the layer,
 * "ca.pem" the host's bundle. */
struct scene {
    char dir[64];
    struct hostlayer_options options;
};

static void put(const char *path, const char *text)
{
    char *copy = xstrdup(path);
    *strrchr(copy, '/') = '\0';
    assert_int_equal(path_make_dirs(copy, 0755), 0);
    free(copy);
    assert_int_equal(fd_replace_file(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static int setup(void **state)
{
    struct scene *scene = xcalloc(1, sizeof(*scene));
    (void)snprintf(scene->dir, sizeof(scene->dir), "/tmp/test-hostlayer-XXXXXX");
    assert_non_null(mkdtemp(scene->dir));
    assert_int_equal(chdir(scene->dir), 0);
    put("./ca.pem", CERT("HOST"));
    put("t/" BUNDLE, CERT("OWN0"));
    scene->options.ca_bundle = "ca.pem";
    scene->options.dns_count = 2;
    assert_int_equal(inet_pton(AF_INET, "192.0.2.53", &scene->options.dns[0]), 1);
    assert_int_equal(inet_pton(AF_INET, "10.0.0.53", &scene->options.dns[1]), 1);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    char *const argv[] = {(char[]){"rm"}, (char[]){"-rf"}, scene->dir, NULL};
    assert_int_equal(chdir("/"), 0);
    pid_t pid = fork();
    if (pid == 0) {
        execvp("rm", argv);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    free(scene);
    return 0;
}

static void build(struct scene *scene)
{
    struct err err;
    if (hostlayer_build("t", "layer", &scene->options, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(access("layer.new", F_OK), -1);
}

static void expect_file(const char *path, const char *text)
{
    char *got = NULL;
    struct stat st;
    assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &got, NULL), 0);
    assert_string_equal(got, text);
    free(got);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_gid, 0);
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static ino_t inode(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_ino;
}

static void makes_the_files(void **state)
{
    struct scene *scene = *state;
    scene->options.hostname = "box";
    build(scene);
    expect_file("layer/etc/resolv.conf", "nameserver 192.0.2.53\nnameserver 10.0.0.53\n");
    expect_file("layer/etc/hosts", "127.0.0.1\tlocalhost\n"
                                   "::1\tlocalhost ip6-localhost ip6-loopback\n"
                                   "127.0.1.1\tbox\n");
    expect_file("layer/" BUNDLE, CERT("OWN0") CERT("HOST"));
    expect_file("layer/" LOCAL "carrel-001.crt", CERT("HOST"));
    assert_false(exists("layer/" LOCAL "carrel-002.crt"));
    expect_file("t/" BUNDLE, CERT("OWN0"));
}

static void adds_only_what_is_missing(void **state)
{
    struct scene *scene = *state;
    put("./ca.pem", CERT("A001") CERT("OWN\n0") CERT("A002") CERT("A001"));
    put("t/" BUNDLE, "-----BEGIN CERTIFICATE-----\nOWN0\n-----END CERTIFICATE-----");
    build(scene);
    expect_file("layer/" BUNDLE, CERT("OWN0") CERT("A001") CERT("A002"));
    expect_file("layer/" LOCAL "carrel-002.crt", CERT("A002"));
    put("./ca.pem", CERT("OWN0"));
    build(scene);
    assert_false(exists("layer/usr"));
    assert_false(exists("layer/etc/ssl"));
}

static void template_without_a_bundle(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(unlink("t/" BUNDLE), 0);
    build(scene);
    expect_file("layer/" BUNDLE, CERT("HOST"));
}

static void bundle_option(void **state)
{
    struct scene *scene = *state;
    struct err err;
    scene->options.ca_bundle = "none";
    build(scene);
    assert_false(exists("layer/etc/ssl"));
    scene->options.ca_bundle = "missing.pem";
    assert_int_equal(hostlayer_build("t", "layer", &scene->options, &err), -ENOENT);
    assert_non_null(strstr(err.message, "missing.pem"));
    put("./ca.pem", "no certificate\n");
    scene->options.ca_bundle = "ca.pem";
    assert_int_equal(hostlayer_build("t", "layer", &scene->options, &err), -EINVAL);
    assert_true(exists("layer/etc/hosts")); /* what was there stays */
    scene->options.ca_bundle = NULL;
    build(scene);
}

static void too_many_certificates(void **state)
{
    struct scene *scene = *state;
    struct err err;
    char *text = xcalloc(HOSTLAYER_EXTRA_MAX + 1, 80);
    size_t len = 0;
    for (unsigned i = 0; i <= HOSTLAYER_EXTRA_MAX; i++)
        len += (size_t)snprintf(text + len, 80, CERT("%08u"), i);
    put("./ca.pem", text);
    assert_true(hostlayer_build("t", "layer", &scene->options, &err) < 0);
    assert_false(exists("layer"));
    text[len - len / (HOSTLAYER_EXTRA_MAX + 1)] = '\0'; /* all but the last */
    put("./ca.pem", text);
    build(scene);
    assert_true(exists("layer/" LOCAL "carrel-512.crt"));
    free(text);
}

static void skips_when_nothing_changed(void **state)
{
    struct scene *scene = *state;
    build(scene);
    ino_t first = inode("layer");
    build(scene);
    assert_int_equal(inode("layer"), first);
    assert_false(exists("layer.old-1"));
    scene->options.dns_count = 1;
    build(scene);
    assert_int_not_equal(inode("layer"), first);
    assert_int_equal(inode("layer.old-1"), first); /* a mounted overlay may still use it */
    expect_file("layer/etc/resolv.conf", "nameserver 192.0.2.53\n");
    put("./ca.pem", CERT("NEW0"));
    build(scene);
    assert_true(exists("layer.old-2"));
    assert_int_equal(hostlayer_prune("layer", NULL), 0);
    assert_false(exists("layer.old-1"));
    assert_false(exists("layer.old-2"));
    assert_true(exists("layer/etc/hosts"));
}

static void mends_what_a_crash_left(void **state)
{
    struct scene *scene = *state;
    put("layer.new/etc/half", "x");
    build(scene);
    assert_false(exists("layer/etc/half"));
    assert_int_equal(unlink("layer.stamp"), 0);
    build(scene);
    assert_int_equal(rename("layer", "elsewhere"), 0);
    build(scene);
    assert_true(exists("layer/etc/hosts"));
}

static void keeps_looks_of_directories(void **state)
{
    struct scene *scene = *state;
    struct stat st;
    assert_int_equal(chmod("t", 0711), 0);
    assert_int_equal(chmod("t/etc", 01775), 0);
    assert_int_equal(chown("t/etc", 1000, 50), 0);
    build(scene);
    assert_int_equal(stat("layer", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0711);
    assert_int_equal(stat("layer/etc", &st), 0);
    assert_int_equal(st.st_mode & 07777, 01775);
    assert_int_equal(st.st_uid, 1000);
    assert_int_equal(st.st_gid, 50);
    assert_int_equal(stat("layer/usr/local", &st), 0); /* the template has none */
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(st.st_uid, 0);
}

static void follows_directory_links_inside(void **state)
{
    struct scene *scene = *state;
    put("t/etc/pki/tls/certs/ca-certificates.crt", CERT("PKI0"));
    assert_int_equal(rename("t/etc/ssl/certs", "t/etc/ssl/was"), 0);
    assert_int_equal(symlink("../pki/tls/certs", "t/etc/ssl/certs"), 0);
    put("t/opt/local/x", "");
    assert_int_equal(mkdir("t/usr", 0755), 0);
    assert_int_equal(symlink("/opt/local", "t/usr/local"), 0);
    build(scene);
    expect_file("layer/etc/pki/tls/certs/ca-certificates.crt", CERT("PKI0") CERT("HOST"));
    expect_file("layer/opt/local/share/ca-certificates/carrel-001.crt", CERT("HOST"));
    assert_false(exists("layer/etc/ssl"));
    assert_false(exists("layer/usr"));
}

/* Links out of the template, absolute and by dots, lead to the template's own root. */
static void links_do_not_lead_out(void **state)
{
    struct scene *scene = *state;
    put("./secret/" BUNDLE, CERT("SECRET00"));
    assert_int_equal(unlink("t/" BUNDLE), 0);
    char *target = xasprintf("%s/secret/" BUNDLE, scene->dir);
    assert_int_equal(symlink(target, "t/" BUNDLE), 0);
    build(scene);
    expect_file("layer/" BUNDLE, CERT("HOST"));
    free(target);

    assert_int_equal(unlink("t/" BUNDLE), 0);
    assert_int_equal(rmdir("t/etc/ssl/certs"), 0);
    assert_int_equal(rmdir("t/etc/ssl"), 0);
    assert_int_equal(symlink("../../../../../../secret/etc/ssl", "t/etc/ssl"), 0);
    put("./ca.pem", CERT("HOST2000"));
    build(scene);
    /* Dangling in the template: the layer's directory takes the link's place. */
    expect_file("layer/" BUNDLE, CERT("HOST2000"));
    expect_file("secret/" BUNDLE, CERT("SECRET00"));
}

static void links_in_a_circle(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(rename("t/etc/ssl", "t/was"), 0);
    assert_int_equal(symlink("ssl", "t/etc/ssl"), 0);
    build(scene);
    expect_file("layer/" BUNDLE, CERT("HOST"));
}

static void odd_files(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(unlink("t/" BUNDLE), 0);
    assert_int_equal(mkfifo("t/" BUNDLE, 0666), 0); /* opening it for reading would wait for ever */
    build(scene);
    expect_file("layer/" BUNDLE, CERT("HOST"));

    assert_int_equal(unlink("t/" BUNDLE), 0);
    assert_int_equal(mkdir("t/" BUNDLE, 0755), 0);
    put("t/usr", "a file where a directory is expected");
    put("./ca.pem", CERT("HOST2000"));
    build(scene);
    expect_file("layer/" BUNDLE, CERT("HOST2000"));
    expect_file("layer/" LOCAL "carrel-001.crt", CERT("HOST2000"));
}

static void huge_bundle(void **state)
{
    struct scene *scene = *state;
    struct err err;
    assert_int_equal(truncate("t/" BUNDLE, HOSTLAYER_BUNDLE_MAX + 1), 0);
    assert_int_equal(hostlayer_build("t", "layer", &scene->options, &err), -EFBIG);
    assert_false(exists("layer"));
}

static void missing_template(void **state)
{
    struct scene *scene = *state;
    struct err err;
    assert_int_equal(hostlayer_build("nowhere", "layer", &scene->options, &err), -ENOENT);
    assert_false(exists("layer"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(makes_the_files),
        TEST(adds_only_what_is_missing),
        TEST(template_without_a_bundle),
        TEST(bundle_option),
        TEST(too_many_certificates),
        TEST(skips_when_nothing_changed),
        TEST(mends_what_a_crash_left),
        TEST(keeps_looks_of_directories),
        TEST(follows_directory_links_inside),
        TEST(links_do_not_lead_out),
        TEST(links_in_a_circle),
        TEST(odd_files),
        TEST(huge_bundle),
        TEST(missing_template),
    };
    if (geteuid() != 0) {
        (void)printf("1..0 # SKIP needs root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
