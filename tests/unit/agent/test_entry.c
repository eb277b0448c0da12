/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

static void permissions(void **state)
{
    (void)state;
    static const struct {
        mode_t mode;
        const char *want;
    } cases[] = {
        {S_IFREG | 0644, "-rw-r--r--"},      {S_IFREG, "----------"},
        {S_IFDIR | 0755, "drwxr-xr-x"},      {S_IFDIR | 01777, "dtrwxrwxrwx"},
        {S_IFLNK | 0777, "Lrwxrwxrwx"},      {S_IFREG | 04755, "urwxr-xr-x"},
        {S_IFREG | 02755, "grwxr-xr-x"},     {S_IFREG | 06711, "ugrwx--x--x"},
        {S_IFIFO | 0600, "prw-------"},      {S_IFSOCK | 0777, "Srwxrwxrwx"},
        {S_IFBLK | 0660, "Drw-rw----"},      {S_IFCHR | 0666, "Dcrw-rw-rw-"},
        {S_IFCHR | 07421, "Dugctr---w---x"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[ENTRY_PERMISSIONS_SIZE];
        entry_permissions(cases[i].mode, text);
        assert_string_equal(text, cases[i].want);
    }
}

static void a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/carrel-entry-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "12345", 5), 5);
    const struct timespec times[2] = {{0, 0}, {1700000000, 120000000}};
    assert_int_equal(futimens(fd, times), 0);
    struct owners owners = {0};
    struct buf out;
    struct stat st;
    buf_init(&out, 4096);
    owners_refresh(&owners);
    assert_int_equal(entry_append(&out, &owners, AT_FDCWD, path, path, &st), 0);
    char want[600];
    snprintf(
        want, sizeof want,
        "{\"name\":\"%s\",\"type\":\"FILE_TYPE_FILE\",\"path\":\"%s\",\"size\":\"5\",\"mode\":384,"
        "\"permissions\":\"-rw-------\",\"owner\":\"%s\",\"group\":\"%s\","
        "\"modifiedTime\":\"2023-11-14T22:13:20.120Z\"}",
        path + strlen("/tmp/"), path, owners_user(&owners, st.st_uid),
        owners_group(&owners, st.st_gid));
    assert_string_equal(buf_cstr(&out), want);
    unlink(path);
    size_t before = buf_len(&out);
    assert_int_equal(entry_append(&out, &owners, AT_FDCWD, path, path, &st), -ENOENT);
    assert_int_equal(buf_len(&out), before);
    close(fd);
    buf_done(&out);
    owners_done(&owners);
}

static void many_owners(void **state)
{
    (void)state;
    struct owners owners = {0};
    owners_refresh(&owners);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned id = 3000000000u; id < 3000000000u + 2 * OWNERS_SLOTS; id++) {
            char want[20];
            snprintf(want, sizeof want, "%u", id);
            assert_string_equal(owners_user(&owners, id), want);
            assert_string_equal(owners_group(&owners, id), want);
        }
    }
    assert_string_equal(owners_user(&owners, 0), "root");
    owners_done(&owners);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permissions),
        cmocka_unit_test(a_file),
        cmocka_unit_test(many_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
