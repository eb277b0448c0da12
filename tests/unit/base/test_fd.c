/* SPDX-License-Identifier: Apache-2.0 */
/* fd: files replaced whole, bounded reads, descriptors over sockets. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fd.h"

static void replace_and_read(void **state)
{
    char dir[] = "/tmp/carrel-test-fd-XXXXXX", *text;
    size_t len;
    assert_non_null(mkdtemp(dir));
    _cleanup_close_ int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fd_replace_file(at, "f", "hello", 5, 0600), 0);
    assert_int_equal(fd_replace_file(at, "f", "you", 3, 0600), 0);
    assert_int_equal(fd_read_file(at, "f", 3, &text, &len), 0);
    assert_string_equal(text, "you");
    free(text);
    assert_int_equal(fd_read_file(at, "f", 2, &text, &len), -EFBIG);
    assert_int_equal(fd_read_file(at, "g", 2, &text, &len), -ENOENT);
    assert_int_equal(faccessat(at, "f.new", F_OK, 0), -1);
    assert_int_equal(mkfifoat(at, "pipe", 0600), 0);
    assert_int_equal(fd_read_file(at, "pipe", 9, &text, &len), -EINVAL);
    unlinkat(at, "pipe", 0);
    unlinkat(at, "f", 0);
    rmdir(dir);
}

static void descriptors_pass_and_extra_ones_are_closed(void **state)
{
    int pair[2], got[FD_PASS_MAX];
    char c;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int sent[3] = {pair[0], pair[0], pair[0]};
    assert_int_equal(fd_send(pair[0], "x", 1, sent, 3), 0);
    size_t count = 3;
    assert_int_equal(fd_receive(pair[1], &c, 1, got, &count), 1);
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fcntl(got[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(got[i]);
    }
    int next = dup(0);
    close(next);
    assert_int_equal(fd_send(pair[0], "x", 1, sent, 3), 0);
    count = 1;
    assert_int_equal(fd_receive(pair[1], &c, 1, got, &count), -EMSGSIZE);
    assert_int_equal(count, 0);
    int after = dup(0);
    assert_int_equal(after, next); /* nothing was left open */
    close(after);
    assert_int_equal(fd_send(pair[0], "long", 4, NULL, 0), 0);
    count = 0;
    assert_int_equal(fd_receive(pair[1], &c, 1, got, &count), -EMSGSIZE);
    close(pair[0]);
    assert_int_equal(fd_receive(pair[1], &c, 1, got, &count), 0);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replace_and_read),
        cmocka_unit_test(descriptors_pass_and_extra_ones_are_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
