/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos: good ones whole, split and cut; hostile ones of each kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "egress/client_hello.h"

enum { ROOM = 64 * 1024 };

/* ---- making them ---- */

struct maker {
    uint8_t bytes[ROOM];
    size_t len;
};

static void put(struct maker *m, const void *p, size_t n)
{
    assert_true(m->len + n <= ROOM);
    memcpy(m->bytes + m->len, p, n);
    m->len += n;
}

static void put_number(struct maker *m, size_t value, size_t bytes)
{
    for (size_t i = bytes; i-- > 0;) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        put(m, &byte, 1);
    }
}

static void put_extension(struct maker *m, unsigned type, const void *p, size_t n)
{
    put_number(m, type, 2);
    put_number(m, n, 2);
    put(m, p, n);
}

static void put_server_name(struct maker *m, const char *name)
{
    struct maker *content = xcalloc(1, sizeof *content);
    put_number(content, strlen(name) + 3, 2);
    put_number(content, 0, 1);
    put_number(content, strlen(name), 2);
    put(content, name, strlen(name));
    put_extension(m, 0, content->bytes, content->len);
    free(content);
}

/* The message with these extensions, and padding, in one record or in pieces. */
static void wrap(const struct maker *extensions, size_t record, struct maker *out)
{
    struct maker *message = xcalloc(1, sizeof *message);
    size_t body = 2 + 32 + 1 + 32 + 2 + 4 + 1 + 1 + 2 + extensions->len;
    uint8_t zeroes[32] = {0};
    put_number(message, 1, 1);
    put_number(message, body, 3);
    put_number(message, 0x0303, 2);
    put(message, zeroes, 32);
    put_number(message, 32, 1);
    put(message, zeroes, 32);
    put_number(message, 4, 2);
    put(message, "\x13\x01\x13\x02", 4);
    put_number(message, 1, 1);
    put_number(message, 0, 1);
    put_number(message, extensions->len, 2);
    put(message, extensions->bytes, extensions->len);
    out->len = 0;
    for (size_t at = 0; at < message->len; at += record) {
        size_t n = message->len - at < record ? message->len - at : record;
        put_number(out, 22, 1);
        put_number(out, 0x0301, 2);
        put_number(out, n, 2);
        put(out, message->bytes + at, n);
    }
    free(message);
}

static struct maker *hello_for(const char *name, size_t record)
{
    struct maker extensions = {.len = 0}, *out = xcalloc(1, sizeof *out);
    put_extension(&extensions, 43, "\x02\x03\x04", 3);
    put_server_name(&extensions, name);
    put_extension(&extensions, 0x0a0a, "", 0);
    wrap(&extensions, record, out);
    return out;
}

/* Over an exact copy, for the address sanitizer. */
static enum hello read_exactly(const uint8_t *bytes, size_t n, char name[HOSTNAME_SIZE])
{
    uint8_t *copy = xmalloc(n ? n : 1);
    memcpy(copy, bytes, n);
    enum hello verdict = hello_read(copy, n, name);
    free(copy);
    return verdict;
}

static enum hello read_extensions(const struct maker *extensions)
{
    char name[HOSTNAME_SIZE] = "untouched";
    struct maker *out = xcalloc(1, sizeof *out);
    wrap(extensions, ROOM, out);
    enum hello verdict = read_exactly(out->bytes, out->len, name);
    if (verdict != HELLO_NAMED)
        assert_string_equal(name, "untouched");
    free(out);
    return verdict;
}

/* ---- the tests ---- */

static void finds_the_name(void **state)
{
    static const size_t records[] = {ROOM, 100, 17};
    for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
        char name[HOSTNAME_SIZE];
        _cleanup_free_ struct maker *m = hello_for("API.Example.com", records[i]);
        assert_int_equal(read_exactly(m->bytes, m->len, name), HELLO_NAMED);
        assert_string_equal(name, "api.example.com");
        /* What follows does not matter; what is missing does. */
        put(m, "\x17garbage", 8);
        assert_int_equal(read_exactly(m->bytes, m->len, name), HELLO_NAMED);
    }
}

static void every_cut_wants_more(void **state)
{
    static const size_t records[] = {ROOM, 33};
    for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
        char name[HOSTNAME_SIZE];
        _cleanup_free_ struct maker *m = hello_for("a.example", records[i]);
        for (size_t n = 0; n < m->len; n++)
            assert_int_equal(read_exactly(m->bytes, n, name), HELLO_MORE);
    }
}

static void no_name(void **state)
{
    struct maker none = {.len = 0}, address = {.len = 0}, other = {.len = 0};
    assert_int_equal(read_extensions(&none), HELLO_NAMELESS);
    put_server_name(&address, "203.0.113.10");
    assert_int_equal(read_extensions(&address), HELLO_NAMELESS);
    put_extension(&other, 0, "\x00\x04\x07\x00\x01x", 6); /* a kind of name nobody knows */
    assert_int_equal(read_extensions(&other), HELLO_NAMELESS);
    static const char *const bad[] = {"a b", "a..b", "-\n", "a/b", "*.a", "a:443", ""};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct maker e = {.len = 0};
        put_server_name(&e, bad[i]);
        assert_int_equal(read_extensions(&e), HELLO_NAMELESS);
    }
}

static void a_hidden_name(void **state)
{
    static const unsigned types[] = {0xfe0d, 0xffce};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct maker before = {.len = 0}, after = {.len = 0};
        put_extension(&before, types[i], "\x00", 1);
        put_server_name(&before, "allowed.example");
        assert_int_equal(read_extensions(&before), HELLO_ENCRYPTED);
        put_server_name(&after, "allowed.example");
        put_extension(&after, types[i], "", 0);
        assert_int_equal(read_extensions(&after), HELLO_ENCRYPTED);
    }
}

/* Where two readers could see different names there is none. */
static void two_names(void **state)
{
    struct maker twice = {.len = 0}, inside = {.len = 0};
    put_server_name(&twice, "good.example");
    put_server_name(&twice, "evil.example");
    assert_int_equal(read_extensions(&twice), HELLO_MALFORMED);
    put_extension(&inside, 0,
                  "\x00\x08\x00\x00\x01"
                  "a\x00\x00\x01"
                  "b",
                  10);
    assert_int_equal(read_extensions(&inside), HELLO_MALFORMED);
}

static void malformed(void **state)
{
    char name[HOSTNAME_SIZE];
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"GET / HTTP/1.1\r\n", 16},
        {"\x80\x2e\x01\x00\x02", 5},                 /* SSL 2 */
        {"\x16\x02\x00\x00\x05", 5},                 /* no TLS version */
        {"\x16\x03\x01\x00\x00", 5},                 /* an empty record */
        {"\x16\x03\x01\x40\x01", 5},                 /* one that is too long */
        {"\x16\x03\x01\x00\x01\x02", 6},             /* a ServerHello */
        {"\x15\x03\x01\x00\x02\x02\x28", 7},         /* an alert */
        {"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9}, /* an empty message */
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(read_exactly((const uint8_t *)bad[i].bytes, bad[i].n, name),
                         HELLO_MALFORMED);
    struct maker cut = {.len = 0};
    put(&cut, "\x00\x00\x00\x09\x00", 5); /* an extension that is not all there */
    assert_int_equal(read_extensions(&cut), HELLO_MALFORMED);
}

static void too_large(void **state)
{
    char name[HOSTNAME_SIZE];
    struct maker m = {.len = 0};
    put(&m, "\x16\x03\x01\x40\x00\x01\x00\x40\x00", 9);
    assert_int_equal(read_exactly(m.bytes, m.len, name), HELLO_TOO_LARGE);
    m.len = 0;
    put(&m, "\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9);
    assert_int_equal(read_exactly(m.bytes, m.len, name), HELLO_TOO_LARGE);
    /* Too many pieces, well before the message is complete. */
    _cleanup_free_ struct maker *pieces = hello_for("a.example", 1);
    assert_int_equal(read_exactly(pieces->bytes, pieces->len, name), HELLO_TOO_LARGE);
}

/* Any byte changed: a verdict, whichever. */
static void changed_bytes(void **state)
{
    char name[HOSTNAME_SIZE];
    _cleanup_free_ struct maker *m = hello_for("a.example", 50);
    for (size_t i = 0; i < m->len; i++) {
        for (int value = 0; value < 256; value += 5) {
            uint8_t old = m->bytes[i];
            m->bytes[i] = (uint8_t)value;
            read_exactly(m->bytes, m->len, name);
            m->bytes[i] = old;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_name), cmocka_unit_test(every_cut_wants_more),
        cmocka_unit_test(no_name),        cmocka_unit_test(a_hidden_name),
        cmocka_unit_test(two_names),      cmocka_unit_test(malformed),
        cmocka_unit_test(too_large),      cmocka_unit_test(changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
