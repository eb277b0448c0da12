/* SPDX-License-Identifier: Apache-2.0 */
/* base64: known vectors, every length, both alphabets, hostile input. */
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
#include "base/base64.h"

static void known_vectors(void **state)
{
    static const struct {
        const char *plain, *coded;
    } cases[] = {{"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    char out[64];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t n = base64_encode(cases[i].plain, strlen(cases[i].plain), out);
        assert_int_equal(n, strlen(cases[i].coded));
        assert_memory_equal(out, cases[i].coded, n);
        assert_int_equal(base64_decode(str_from(cases[i].coded), out), strlen(cases[i].plain));
        assert_memory_equal(out, cases[i].plain, strlen(cases[i].plain));
    }
}

static void every_length_comes_back(void **state)
{
    unsigned char in[300], back[300];
    char coded[BASE64_SIZE(300)];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i * 37 + 11);
    for (size_t n = 0; n <= 297; n++) {
        size_t len = base64_encode(in, n, coded);
        assert_int_equal(len, BASE64_SIZE(n));
        assert_int_equal(base64_decode((struct str){coded, len}, back), n);
        assert_memory_equal(in, back, n);
    }
}

static void url_safe_and_unpadded_are_read(void **state)
{
    char out[8];
    assert_int_equal(base64_decode(STR("-_8"), out), 2);
    assert_int_equal(base64_decode(STR("+/8="), out), 2);
}

static void bad_input_is_refused(void **state)
{
    static const char *const bad[] = {"Z", "Zg=", "Z===", "Zg==Zg==", "Z g=", "Zm9v\n", "====", "Zm9vY==="};
    char out[32];
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(base64_decode(str_from(bad[i]), out), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors),
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(url_safe_and_unpadded_are_read),
        cmocka_unit_test(bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
