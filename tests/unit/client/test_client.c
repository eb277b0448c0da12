/* SPDX-License-Identifier: Apache-2.0 */
/* Where the client finds server and key; what answers mean. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "client/client-internal.h"

#define LOCAL_KEY "e2b_0123456789012345678901234567890123456789"

static char dir[] = "/tmp/carrel-client-XXXXXX";
static struct carrel_error err;

static void clear(void)
{
    static const char *const names[] = {"CARREL_API_KEY", "E2B_API_KEY",        "CARREL_API_URL",
                                        "E2B_API_URL",    "CARREL_SANDBOX_URL", "E2B_SANDBOX_URL",
                                        "CARREL_DOMAIN",  "E2B_DOMAIN"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unsetenv(names[i]);
}

static struct carrel_client *open_client(void)
{
    const struct carrel_client_options options = {.run_dir = dir, .state_dir = dir};
    err = (struct carrel_error){0};
    return carrel_client_new(&options, &err);
}

static void expect(const char *url, const char *sandbox_url, const char *key)
{
    struct carrel_client *client = open_client();
    assert_non_null(client);
    assert_string_equal(client->api_url, url);
    assert_string_equal(client->sandbox_url, sandbox_url);
    assert_string_equal(client->key, key);
    carrel_client_free(client);
}

static void expect_error(enum carrel_code code)
{
    assert_null(open_client());
    assert_int_equal(err.code, code);
    assert_true(err.message[0] != '\0');
}

static void test_nothing_is_known(void **state)
{
    clear();
    expect_error(CARREL_INVALID);
    setenv("E2B_API_URL", "http://server:1", 1);
    expect_error(CARREL_UNAUTHENTICATED);
}

static void test_the_environment(void **state)
{
    clear();
    setenv("E2B_API_URL", "http://server:1//", 1);
    setenv("E2B_API_KEY", "e2b_1", 1);
    expect("http://server:1", "http://server:1", "e2b_1");
    setenv("E2B_SANDBOX_URL", "https://traffic", 1);
    setenv("CARREL_API_KEY", "e2b_2", 1);
    expect("http://server:1", "https://traffic", "e2b_2");
    setenv("E2B_DOMAIN", "example.org:8", 1);
    expect("http://server:1", "https://traffic", "e2b_2");
    unsetenv("E2B_API_URL");
    unsetenv("E2B_SANDBOX_URL");
    expect("https://api.example.org:8", "https://api.example.org:8", "e2b_2");
    setenv("CARREL_API_KEY", "a key", 1);
    expect_error(CARREL_INVALID);
    setenv("CARREL_API_KEY", "a\r\nHeader: b", 1);
    expect_error(CARREL_INVALID);
    unsetenv("CARREL_API_KEY");
    setenv("CARREL_API_URL", "file:///etc/passwd", 1);
    expect_error(CARREL_INVALID);
}

static void test_a_server_on_this_machine(void **state)
{
    _cleanup_free_ char *url = xasprintf("%s/url", dir), *server = xasprintf("%s/server", dir);
    _cleanup_free_ char *key = xasprintf("%s/key", server);
    clear();
    assert_int_equal(fd_replace_file(AT_FDCWD, url, "http://here:3\n", 14, 0600), 0);
    assert_int_equal(mkdir(server, 0700), 0);
    assert_int_equal(fd_replace_file(AT_FDCWD, key, LOCAL_KEY "\n", sizeof LOCAL_KEY, 0600), 0);
    expect("http://here:3", "http://here:3", LOCAL_KEY);
    setenv("E2B_API_URL", "http://here:3/", 1);
    expect("http://here:3", "http://here:3", LOCAL_KEY);
    /* its key is for no other */
    setenv("E2B_API_URL", "http://here", 1);
    expect_error(CARREL_UNAUTHENTICATED);
    setenv("E2B_API_URL", "http://elsewhere:3", 1);
    expect_error(CARREL_UNAUTHENTICATED);
    unlink(key);
    rmdir(server);
    unlink(url);
}

static void test_answers(void **state)
{
    static const struct {
        long status;
        const char *body;
        bool sandbox;
        enum carrel_code code;
        const char *message;
    } cases[] = {
        {404, "{\"code\":404,\"message\":\"no such thing\"}", false, CARREL_NOT_FOUND,
         "no such thing"},
        {502, "{\"code\":502,\"message\":\"gone\"}", true, CARREL_GONE, "gone"},
        {502, "<html>", false, CARREL_UNREACHABLE, "<html>"},
        {409, "{\"code\":\"already_exists\",\"message\":\"it is\"}", true, CARREL_EXISTS, "it is"},
        {500, "", true, CARREL_SERVER, "the server answered with status 500"},
        {507, "{\"code\":507,\"message\":\"not\\nenough\\u001b[31m\"}", true, CARREL_NO_SPACE,
         "not enough [31m"},
        {418, "{\"message\":5}", true, CARREL_SERVER, "the server answered with status 418"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int rc = error_http(&err, cases[i].status, cases[i].body, strlen(cases[i].body),
                            cases[i].sandbox);
        assert_int_equal(rc, -(int)cases[i].code);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(err.http_status, cases[i].status);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(error_http(NULL, cases[i].status, "", 0, cases[i].sandbox) < 0, true);
    }
    for (int code = CARREL_OK; code <= CARREL_SERVER; code++)
        assert_string_not_equal(carrel_code_name((enum carrel_code)code), "unknown");
    assert_string_equal(carrel_code_name((enum carrel_code)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_known),
        cmocka_unit_test(test_the_environment),
        cmocka_unit_test(test_a_server_on_this_machine),
        cmocka_unit_test(test_answers),
    };
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
