/* SPDX-License-Identifier: Apache-2.0 */
#include "http/inflate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

static int collect(const char *p, size_t n, void *arg)
{
    assert_true(n <= 65536);
    return buf_append(arg, p, n);
}

/* Appends p as one gzip member. */
static void gzip(struct buf *out, const void *p, size_t n)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, n) + 64;
    z.next_in = (unsigned char *)(uintptr_t)p;
    z.avail_in = (unsigned)n;
    z.next_out = (unsigned char *)buf_reserve(out, room);
    z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    buf_added(out, room - z.avail_out);
    deflateEnd(&z);
}

static int decode(struct str data, size_t step, struct buf *out)
{
    struct err err = {0};
    struct inflate *z = inflate_new(collect, out);
    int r = 0;
    for (size_t i = 0; r == 0 && i < data.len; i += step)
        r = inflate_feed(z, data.p + i, data.len - i < step ? data.len - i : step, &err);
    if (r == 0)
        r = inflate_finish(z, &err);
    inflate_free(z);
    return r;
}

static void members(void **state)
{
    (void)state;
    struct buf data;
    buf_init(&data, 4096);
    gzip(&data, "hello ", 6);
    gzip(&data, "", 0);
    gzip(&data, "world", 5);
    for (size_t step = 1; step <= buf_len(&data); step++) {
        struct buf out;
        buf_init(&out, 100);
        assert_int_equal(decode(buf_str(&data), step, &out), 0);
        assert_string_equal(buf_cstr(&out), "hello world");
        buf_done(&out);
    }
    buf_done(&data);
}

static void large(void **state)
{
    (void)state;
    enum { SIZE = 3 * 1000 * 1000 };
    _cleanup_free_ char *text = xmalloc(SIZE);
    uint32_t seed = 7;
    for (int i = 0; i < SIZE; i++) {
        seed = seed * 1664525 + 1013904223;
        text[i] = (char)(i < SIZE / 2 ? seed >> 24 : 'a');
    }
    struct buf data, out;
    buf_init(&data, SIZE * 2);
    buf_init(&out, SIZE + 100);
    gzip(&data, text, SIZE);
    assert_int_equal(decode(buf_str(&data), 10007, &out), 0);
    assert_int_equal(buf_len(&out), SIZE);
    assert_memory_equal(buf_ptr(&out), text, SIZE);
    buf_done(&data);
    buf_done(&out);
}

static void refused(void **state)
{
    (void)state;
    struct buf data, out;
    buf_init(&data, 4096);
    buf_init(&out, 4096);
    gzip(&data, "hello", 5);
    struct str whole = buf_str(&data);
    for (size_t n = 0; n < whole.len; n++)
        assert_int_equal(decode((struct str){whole.p, n}, 3, &out), -EINVAL);
    assert_int_equal(decode(STR("not gzip at all"), 4, &out), -EINVAL);
    assert_int_equal(decode(STR("x\x9c\x03\x00\x00\x00\x00\x01"), 4, &out),
                     -EINVAL); /* zlib's own */
    buf_append_z(&data, "junk behind");
    assert_int_equal(decode(buf_str(&data), 100, &out), -EINVAL);
    char *sum = data.data + data.begin + whole.len - 6;
    *sum ^= 1;
    assert_int_equal(decode((struct str){buf_ptr(&data), whole.len}, 100, &out), -EINVAL);
    buf_done(&data);
    buf_done(&out);
}

/* What the callback does not accept ends it: nothing is collected behind its back. */
static void bomb(void **state)
{
    (void)state;
    enum { SIZE = 20 * 1000 * 1000 };
    _cleanup_free_ char *zeros = xcalloc(1, SIZE);
    struct buf data, out;
    buf_init(&data, SIZE * 2);
    buf_init(&out, 200000);
    gzip(&data, zeros, SIZE);
    assert_true(buf_len(&data) < 50000);
    assert_int_equal(decode(buf_str(&data), buf_len(&data), &out), -ENOBUFS);
    buf_done(&data);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members),
        cmocka_unit_test(large),
        cmocka_unit_test(refused),
        cmocka_unit_test(bomb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
