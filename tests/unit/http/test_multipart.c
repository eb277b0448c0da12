/* SPDX-License-Identifier: Apache-2.0 */
#include "http/multipart.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

/* Writes all events down as one text: [name|filename|type]content; */
struct record {
    struct buf text;
    int fail_at_data; /* the nth data event answers -ECANCELED; 0: never */
    int data_events;
};

static int on_part(struct str name, struct str filename, struct str type, void *arg)
{
    struct record *r = arg;
    buf_printf(&r->text, "[%.*s|", STR_ARG(name));
    buf_append_str(&r->text, filename.p ? filename : STR("(none)"));
    buf_append_char(&r->text, '|');
    buf_append_str(&r->text, type.p ? type : STR(""));
    buf_append_char(&r->text, ']');
    return 0;
}

static int on_data(const char *p, size_t n, void *arg)
{
    struct record *r = arg;
    if (++r->data_events == r->fail_at_data)
        return -ECANCELED;
    assert_true(n > 0);
    buf_append(&r->text, p, n);
    return 0;
}

static int on_part_end(void *arg)
{
    struct record *r = arg;
    buf_append_char(&r->text, ';');
    return 0;
}

static const struct multipart_events events = {on_part, on_data, on_part_end};

/* Feeds the body in pieces of `step` bytes. The result of the whole parse. */
static int parse(const char *type, struct str body, size_t step, struct record *r)
{
    struct multipart *m = NULL;
    struct err err = {0};
    buf_init(&r->text, 1 << 20);
    int result = multipart_open(str_from(type), &events, r, &m, &err);
    for (size_t i = 0; result == 0 && i < body.len; i += step)
        result = multipart_feed(m, body.p + i, body.len - i < step ? body.len - i : step, &err);
    if (result == 0)
        result = multipart_finish(m, &err);
    multipart_free(m);
    return result;
}

static void check_body(struct str body, const char *want)
{
    for (size_t step = 1; step <= body.len + 1; step++) {
        struct record r = {0};
        assert_int_equal(parse("multipart/form-data; boundary=XX", body, step, &r), 0);
        assert_string_equal(buf_cstr(&r.text), want);
        buf_done(&r.text);
    }
}

#define PART(disposition, content) \
    "--XX\r\nContent-Disposition: form-data; " disposition "\r\n\r\n" content "\r\n"

static void sdk_bodies(void **state)
{
    (void)state;
    check_body(STR("--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n"
                   "Content-Type: text/plain\r\n\r\nhello\n\r\n--XX\r\n"
                   "content-disposition: form-data; name=\"file\"; filename=\"/tmp/b.txt\"\r\n\r\n"
                   "B\r\n--XX--\r\n"),
               "[file|a.txt|text/plain]hello\n;[file|/tmp/b.txt|]B;");
    check_body(STR(PART("name=x", "") "--XX--"), "[x|(none)|];");
    check_body(STR("--XX--\r\n"), "");
    check_body(
        STR("a preamble\r\nof lines\r\n" PART("name=x", "1") "--XX--\r\nan epilogue\r\n--XX\r\n"),
        "[x|(none)|]1;");
    check_body(STR("--XX \t \r\nA: b\r\n\r\n1\r\n--XX  \r\n\r\n2\r\n--XX--  \r\n"),
               "[|(none)|]1;[|(none)|]2;");
}

static void looks_like_a_boundary(void **state)
{
    (void)state;
    check_body(
        STR(PART("name=f", "a\r\n--X\r\n--XY\r\r\n-\r\n--XXX\r\n--XX-\r\n--XX\rz") "--XX--\r\n"),
        "[f|(none)|]a\r\n--X\r\n--XY\r\r\n-\r\n--XXX\r\n--XX-\r\n--XX\rz;");
    check_body(STR(PART("name=f", "\r\n--XX\r\r\n--XX \r\r\n") "--XX--\r\n"),
               "[f|(none)|]\r\n--XX\r\r\n--XX \r\r\n;");
    /* a false one whose tail begins the true one */
    check_body(STR("--XX\r\n\r\nq\r\n--XX\t\r\r\n--XX--"), "[|(none)|]q\r\n--XX\t\r;");
    /* the opening one must stand at a line's beginning */
    check_body(STR("y--XX\r\n\r\nno\r\n--XX\r\n\r\nyes\r\n--XX--"), "[|(none)|]yes;");
}

static void names(void **state)
{
    (void)state;
    check_body(STR(PART("name=\"file\"; filename=\"/a/\xc3\xa4 %22q%22%0d%0A%41.txt\"", "")
                       PART("filename=\"C:\\dir\\n\\\"x\\\\\"; name=file", "") "--XX--"),
               "[file|/a/\xc3\xa4 \"q\"\r\n%41.txt|];[file|C:\\dir\\n\"x\\|];");
    check_body(
        STR(PART("name=file; filename=\"\"", "") PART("name=\"a;b\" ; filename=x;", "") "--XX--"),
        "[file||];[a;b|x|];");
    check_body(STR(PART("name=f; filename=\"plain\"; filename*=UTF-8''a%20b", "")
                       PART("name=f; filename*=utf-8'en'c%C3%A4; filename=no", "") "--XX--"),
               "[f|a b|];[f|c\xc3\xa4|];");
    check_body(STR("--XX\r\nContent-Disposition: attachment; name=file\r\n\r\n1\r\n--XX--"),
               "[|(none)|]1;");
}

static void malformed(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "nothing here",
        "--XX",
        "--XX-",
        PART("name=x", "1"),
        PART("name=x", "1") "--XX",
        "--XX\r\nContent-Disposition: form-data; name=x\r\n",
        "--XX\r\nno colon\r\n\r\n1\r\n--XX--",
        "--XX\r\nA: b\r\n folded\r\n\r\n1\r\n--XX--",
        "--XX\r\nA: b\nB: c\r\n\r\n1\r\n--XX--",
        PART("name=\"x", "1") "--XX--",
        PART("name=x; name=y", "1") "--XX--",
        PART("name=x; filename=a; filename=b", "1") "--XX--",
        PART("name=x; junk", "1") "--XX--",
        PART("name=\"x\"y", "1") "--XX--",
        PART("name=x; filename*=latin1''%41", "1") "--XX--",
        "--XX\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; "
        "name=b\r\n\r\n\r\n--XX--",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        for (size_t step = 1; step < 9; step += 7) {
            struct record r = {0};
            assert_int_equal(
                parse("multipart/form-data; boundary=XX", str_from(bodies[i]), step, &r), -EINVAL);
            buf_done(&r.text);
        }
    }
}

static void huge_head(void **state)
{
    (void)state;
    struct buf body;
    buf_init(&body, 1 << 20);
    buf_append_z(&body, "--XX\r\nX: ");
    for (int i = 0; i < 40000; i++)
        buf_append_char(&body, 'x');
    buf_append_z(&body, "\r\n\r\n1\r\n--XX--");
    struct record r = {0};
    assert_int_equal(parse("multipart/form-data; boundary=XX", buf_str(&body), 1000, &r), -EINVAL);
    buf_done(&r.text);
    buf_done(&body);
}

static void content_types(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        int result;
    } cases[] = {
        {"multipart/form-data; boundary=XX", 0},
        {"Multipart/Form-Data;charset=utf-8; BOUNDARY=\"XX\"", 0},
        {"multipart/form-data", -EINVAL},
        {"multipart/form-data; boundary=", -EINVAL},
        {"multipart/form-data; boundary=\"\"", -EINVAL},
        {"multipart/form-data; boundary=XX; boundary=YY", -EINVAL},
        {"multipart/form-data; boundary=\"XX", -EINVAL},
        {"multipart/mixed; boundary=XX", -EINVAL},
        {"text/plain", -EINVAL},
        {"", -EINVAL},
        {"multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567"
         "8901234567890",
         -EINVAL},
        {"multipart/form-data; boundary=\"a\tb\"", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct record r = {0};
        assert_int_equal(parse(cases[i].type, STR("--XX\r\n\r\n\r\n--XX--"), 99, &r),
                         cases[i].result);
        buf_done(&r.text);
    }
}

static void owner_stops(void **state)
{
    (void)state;
    struct record r = {.fail_at_data = 2};
    struct str body =
        STR(PART("name=a", "one") PART("name=b", "two") PART("name=c", "three") "--XX--");
    assert_int_equal(parse("multipart/form-data; boundary=XX", body, body.len, &r), -ECANCELED);
    assert_string_equal(buf_cstr(&r.text), "[a|(none)|]one;[b|(none)|]");
    buf_done(&r.text);
}

/* Contents made of the delimiter's own bytes come back unchanged, however they are cut. */
static void random_contents(void **state)
{
    (void)state;
    uint64_t seed = 12345;
    static const char alphabet[] = "\r\n-X a";
    for (int round = 0; round < 3000; round++) {
        struct buf body, want;
        buf_init(&body, 4096);
        buf_init(&want, 4096);
        char content[64];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t n = (seed >> 33) % sizeof content;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            content[i] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
        }
        /* longer than anything random would make by chance, and made of the same letters */
        buf_append_z(&body, "--XX-X-X-XX--X\r\n\r\n");
        buf_append(&body, content, n);
        buf_append_z(&body, "\r\n--XX-X-X-XX--X--\r\n");
        buf_append_z(&want, "[|(none)|]");
        buf_append(&want, content, n);
        buf_append_char(&want, ';');
        struct record r = {0};
        assert_int_equal(parse("multipart/form-data; boundary=XX-X-X-XX--X", buf_str(&body),
                               1 + (seed >> 40) % 20, &r),
                         0);
        assert_true(str_eq(buf_str(&r.text), buf_str(&want)));
        buf_done(&r.text);
        buf_done(&body);
        buf_done(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sdk_bodies),  cmocka_unit_test(looks_like_a_boundary),
        cmocka_unit_test(names),       cmocka_unit_test(malformed),
        cmocka_unit_test(huge_head),   cmocka_unit_test(content_types),
        cmocka_unit_test(owner_stops), cmocka_unit_test(random_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
