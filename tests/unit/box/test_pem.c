/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and comparing certificates as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "box/ns/pem.h"

#define BEGIN       "-----BEGIN CERTIFICATE-----\n"
#define END         "-----END CERTIFICATE-----\n"
#define ONE         BEGIN "AAAA\nBBBB\n" END
#define ONE_WRAPPED BEGIN "AAAABB\nBB\n" END
#define TWO         BEGIN "CCCC==\n" END

static size_t count_of(const char *text)
{
    struct str rest = str_from(text), block;
    size_t count = 0;
    while (pem_next(&rest, &block))
        count++;
    return count;
}

static void finds_blocks(void **state)
{
    struct str rest = STR("# a comment\n" ONE "words between\n" TWO), block;
    assert_true(pem_next(&rest, &block));
    assert_int_equal(block.len, strlen(ONE) - 1);
    assert_memory_equal(block.p, ONE, block.len);
    assert_true(pem_next(&rest, &block));
    assert_memory_equal(block.p, TWO, block.len);
    assert_false(pem_next(&rest, &block));
    assert_false(pem_next(&rest, &block));
}

static void takes_other_line_ends(void **state)
{
    assert_int_equal(count_of("-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----"),
                     1);
    assert_int_equal(
        count_of("-----BEGIN CERTIFICATE----- \nAAAA\t\n\n-----END CERTIFICATE-----\n"), 1);
}

static void passes_over_the_rest(void **state)
{
    assert_int_equal(count_of(""), 0);
    assert_int_equal(count_of(BEGIN), 0);
    assert_int_equal(count_of(END), 0);
    assert_int_equal(count_of(BEGIN END), 0);
    assert_int_equal(count_of(BEGIN "AAAA\n"), 0);
    assert_int_equal(count_of(BEGIN "AA<script>\n" END), 0);
    assert_int_equal(count_of(BEGIN "A\0A\n" END), 0);
    assert_int_equal(count_of("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0);
    /* A block that is cut off does not swallow the next one. */
    assert_int_equal(count_of(BEGIN "AAAA\n" ONE), 1);
}

static void compares_bytes_only(void **state)
{
    assert_true(pem_same(STR(ONE), STR(ONE_WRAPPED)));
    assert_false(pem_same(STR(ONE), STR(TWO)));
    assert_false(pem_same(STR(ONE), STR("")));
    assert_true(pem_same(STR(""), STR("\n")));
}

static void missing_ones(void **state)
{
    struct str out[4];
    assert_int_equal(pem_missing(STR(""), STR(ONE TWO), out, 4), 2);
    assert_memory_equal(out[1].p, TWO, out[1].len);
    assert_int_equal(pem_missing(STR(ONE), STR(ONE TWO), out, 4), 1);
    assert_memory_equal(out[0].p, TWO, out[0].len);
    assert_int_equal(pem_missing(STR(ONE_WRAPPED TWO), STR(ONE TWO), out, 4), 0);
    assert_int_equal(pem_missing(STR(""), STR(ONE TWO ONE_WRAPPED TWO), out, 4), 2);
    assert_int_equal(pem_missing(STR(TWO), STR(""), out, 4), 0);
    assert_int_equal(pem_missing(STR(""), STR(ONE TWO), out, 1), 2);
}

/* A bundle of 100,000 certificates is no trouble. */
static void many(void **state)
{
    enum { COUNT = 100000, EACH = 80 };
    char *text = xmalloc((size_t)COUNT * EACH);
    size_t len = 0;
    for (unsigned i = 0; i < COUNT; i++)
        len += (size_t)snprintf(text + len, EACH, BEGIN "%08u\n" END, i);
    struct str out[4];
    assert_int_equal(pem_missing((struct str){text, len}, STR(ONE TWO), out, 4), 2);
    assert_int_equal(pem_missing((struct str){text, len}, (struct str){text, len}, out, 4), 0);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_blocks),         cmocka_unit_test(takes_other_line_ends),
        cmocka_unit_test(passes_over_the_rest), cmocka_unit_test(compares_bytes_only),
        cmocka_unit_test(missing_ones),         cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
