/* SPDX-License-Identifier: Apache-2.0 */
/* access: who may pass to which port. */
#include "unit.h"

#include "server/access.h"

static struct sandbox secured = {.id = "iabc", .envd_token = "secret", .state = SANDBOX_RUNNING};
static struct sandbox open_one = {.id = "iabc", .state = SANDBOX_RUNNING};

static struct access_verdict check(const struct sandbox *sandbox, int port, const char *method,
                                   const char *target, const char *name, const char *value)
{
    struct unit_request r;
    return access_check(sandbox, port, unit_request(&r, method, target, name, value, NULL), 1000);
}

static void assert_status(struct access_verdict verdict, int status, const char *message)
{
    assert_int_equal(verdict.status, status);
    if (message)
        assert_string_equal(verdict.message, message);
}

#define REFUSED \
    "unauthorized access, please provide a valid access token or method signing if supported"

static void agent_port(void **state)
{
    const char *name = "X-Access-Token";
    assert_status(check(&secured, 49983, "GET", "/health", NULL, NULL), 0, NULL);
    assert_status(check(&secured, 49983, "GET", "/envs", NULL, NULL), 401, REFUSED);
    assert_status(check(&secured, 49983, "GET", "/envs", name, "wrong!"), 401, REFUSED);
    assert_status(check(&secured, 49983, "GET", "/envs", name, "secret"), 0, NULL);
    assert_status(check(&secured, 49983, "POST", "/process.Process/List", NULL, NULL), 401,
                  REFUSED);
    assert_status(check(&secured, 49983, "POST", "/health", NULL, NULL), 401, REFUSED);
    assert_status(check(&secured, 49983, "GET", "//health", NULL, NULL), 401, REFUSED);
    assert_status(check(&open_one, 49983, "GET", "/envs", NULL, NULL), 0, NULL);
}

static void files(void **state)
{
    assert_status(check(&secured, 49983, "GET", "/files?path=x", NULL, NULL), 401,
                  "missing signature query parameter");
    assert_status(check(&secured, 49983, "GET", "/files?path=x&signature=v1_no", NULL, NULL), 401,
                  "invalid signature");
    assert_status(check(&secured, 49983, "GET", "/files?path=x", "X-Access-Token", "no"), 401,
                  "access token present in header but does not match");
    assert_status(check(&secured, 49983, "GET", "/files?path=x", "X-Access-Token", "secret"), 0,
                  NULL);
    assert_status(check(&secured, 49983, "DELETE", "/files?path=x", NULL, NULL), 401, REFUSED);
    assert_status(check(&secured, 49983, "POST", "/files/compose", NULL, NULL), 401, REFUSED);
    /* sha256("x:read::secret:999") and the same for 1000; the clock says 1000 */
    assert_status(check(&secured, 49983, "GET",
                        "/files?path=x&signature_expiration=999&signature="
                        "v1_MWbcH%2BW89ZoTe2v2ouJFGi8lIvJ0XUM%2B5z8WkgKyjjU",
                        NULL, NULL),
                  401, "signature is already expired");
    assert_status(check(&secured, 49983, "GET",
                        "/files?path=x&signature_expiration=1000&signature="
                        "v1_cHVNNThRIpHMD3y43CpnxNdy69znab11tOFseKKhvb0",
                        NULL, NULL),
                  0, NULL);
    assert_status(check(&open_one, 49983, "GET", "/files?path=x", NULL, NULL), 0, NULL);
}

static void internal_routes(void **state)
{
    static const char *const hidden[] = {"/init",   "/INIT",     "//init",   "/init/", "/%69nit",
                                         "/freeze", "/unfreeze", "/upgrade", "/fsthaw"};
    for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
        struct access_verdict v =
            check(&secured, 49983, "POST", hidden[i], "X-Access-Token", "secret");
        assert_int_equal(v.kind, ACCESS_HIDDEN);
        assert_status(check(&open_one, 49983, "POST", hidden[i], NULL, NULL), 404, NULL);
        assert_status(check(&secured, 8080, "POST", hidden[i], NULL, NULL), 0, NULL);
    }
    assert_status(check(&open_one, 49983, "GET", "/initial", NULL, NULL), 0, NULL);
}

static void user_ports(void **state)
{
    struct sandbox private_one = {.id = "iabc", .envd_token = "secret", .traffic_token = "traffic"};
    const char *name = "e2b-traffic-access-token";
    assert_status(check(&secured, 8080, "GET", "/", NULL, NULL), 0, NULL);
    assert_status(check(&private_one, 8080, "GET", "/", NULL, NULL), 403, NULL);
    assert_status(check(&private_one, 8080, "GET", "/", name, "nope"), 403,
                  "Provided token in header 'e2b-traffic-access-token' is invalid");
    assert_status(check(&private_one, 8080, "GET", "/", name, "traffic"), 0, NULL);
    assert_status(check(&private_one, 8080, "GET", "/", "X-Access-Token", "secret"), 403, NULL);
    assert_status(check(&private_one, 49983, "GET", "/health", NULL, NULL), 0, NULL);
}

static void waking(void **state)
{
    struct unit_request r;
    assert_false(access_may_resume(&secured, 49983, unit_request(&r, "GET", "/health", NULL)));
    assert_true(access_may_resume(
        &secured, 49983, unit_request(&r, "GET", "/health", "X-Access-Token", "secret", NULL)));
    assert_true(access_may_resume(&secured, 8080, unit_request(&r, "GET", "/health", NULL)));
    assert_true(access_may_resume(&open_one, 49983, unit_request(&r, "GET", "/health", NULL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agent_port), cmocka_unit_test(files),  cmocka_unit_test(internal_routes),
        cmocka_unit_test(user_ports), cmocka_unit_test(waking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
