/* SPDX-License-Identifier: Apache-2.0 */
#include "http/accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static enum http_coding coding(const char *a, const char *b)
{
    struct http_header list[] = {{STR("Accept"), STR("identity;q=0")},
                                 {STR("ACCEPT-encoding"), str_from(a)},
                                 {STR("Accept-Encoding"), str_from(b)}};
    struct http_headers headers = {list, b ? 3 : a ? 2 : 1};
    return http_accept_coding(&headers);
}

static void choices(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        enum http_coding want;
    } cases[] = {
        {NULL, NULL, HTTP_CODING_IDENTITY},
        {"", NULL, HTTP_CODING_IDENTITY},
        {"gzip, deflate", NULL, HTTP_CODING_IDENTITY},
        {"gzip", "br", HTTP_CODING_IDENTITY},
        {"gzip", NULL, HTTP_CODING_GZIP},
        {"GZIP ; Q=0.9", NULL, HTTP_CODING_GZIP},
        {"gzip;q=0.5,identity;q=0.6", NULL, HTTP_CODING_IDENTITY},
        {"gzip;q=0.6,identity;q=0.5", NULL, HTTP_CODING_GZIP},
        {"gzip;q=0.001", "identity;q=0", HTTP_CODING_GZIP},
        {"identity;q=0", NULL, HTTP_CODING_NONE},
        {"*;q=0", NULL, HTTP_CODING_NONE},
        {"*;q=0, gzip", NULL, HTTP_CODING_GZIP},
        {"*;q=0.0, identity;q=0.1", NULL, HTTP_CODING_IDENTITY},
        {"identity;q=0.000, deflate", NULL, HTTP_CODING_NONE},
        {";;,,;q=,gzip;q=x", NULL, HTTP_CODING_GZIP},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(coding(cases[i].a, cases[i].b), cases[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(choices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
