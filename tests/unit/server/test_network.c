/* SPDX-License-Identifier: Apache-2.0 */
/* Network rules as clients write them: what is taken, and how the rest is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/network.h"

static struct network result;

static int read_text(const char *text, bool internet, struct err *err)
{
    json_t *object = text ? json_loads(text, 0, NULL) : NULL;
    assert_true(!text || object);
    memset(&result, 0xee, sizeof result);
    int rc = network_from_json(object, "network.", internet, &result, err);
    json_decref(object);
    return rc;
}

static void must_read(const char *text, bool internet)
{
    struct err err;
    if (read_text(text, internet, &err) < 0)
        fail_msg("%s: %s", text ? text : "nothing", err.message);
}

static void must_refuse(const char *text, const char *message)
{
    struct err err = {0};
    assert_int_equal(read_text(text, true, &err), -EINVAL);
    assert_int_equal(err.code, ERR_INVALID);
    if (!strstr(err.message, message))
        fail_msg("%s: %s", text, err.message);
}

static struct launcher_network head(void)
{
    struct launcher_network h;
    assert_true(result.len >= sizeof h);
    memcpy(&h, result.bytes, sizeof h);
    assert_int_equal(result.len,
                     sizeof h + (h.allow_count + h.deny_count) * sizeof(struct launcher_range) +
                         h.names_len);
    return h;
}

static struct launcher_range range(unsigned i)
{
    struct launcher_range r;
    memcpy(&r, result.bytes + sizeof(struct launcher_network) + i * sizeof r, sizeof r);
    return r;
}

static void without_rules(void **state)
{
    static const char *const open[] = {NULL,
                                       "{}",
                                       "{\"allowOut\":[],\"denyOut\":null}",
                                       "{\"allowOut\":[\"1.1.1.1\"]}",
                                       "{\"rules\":{},\"egressProxy\":null,\"httpsPorts\":[]}",
                                       "{\"denyOut\":[\"::/0\"]}"};
    for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
        must_read(open[i], true);
        assert_int_equal(result.len, 0);
        assert_false(result.closed);
    }
}

static void without_internet(void **state)
{
    must_read(NULL, false);
    assert_true(result.closed);
    assert_int_equal(head().deny_count, 1);
    assert_int_equal(range(0).prefix, 0);
    must_read("{\"denyOut\":[\"0.0.0.0/0\"]}", true);
    assert_true(result.closed);
    must_read("{\"allowOut\":[\"1.1.1.1\"],\"denyOut\":[\"8.8.8.8\"]}", false);
    assert_false(result.closed);
    assert_int_equal(head().allow_count, 1);
    assert_int_equal(head().deny_count, 1);
    assert_int_equal(range(0).address, 0x01010101);
    assert_int_equal(range(0).prefix, 32);
    assert_int_equal(range(1).prefix, 0);
}

static void ranges(void **state)
{
    must_read("{\"denyOut\":[\"10.1.2.3/8\",\"8.8.8.8\",\"2001:db8::/32\",\"255.255.255.255/32\"]}",
              true);
    assert_int_equal(head().deny_count, 3);
    assert_int_equal(range(0).address, 0x0a000000);
    assert_int_equal(range(0).prefix, 8);
    assert_int_equal(range(2).address, 0xffffffff);
}

static void names(void **state)
{
    must_read("{\"allowOut\":[\"API.Example.com.\",\"*.x.com\"],\"denyOut\":[\"0.0.0.0/0\"]}",
              true);
    static const char expected[] = "api.example.com\0*.x.com";
    assert_false(result.closed);
    assert_int_equal(head().names_len, sizeof expected);
    assert_memory_equal(result.bytes + result.len - sizeof expected, expected, sizeof expected);
    must_read("{\"allowOut\":[\"x.com\"]}", false);
    must_refuse("{\"allowOut\":[\"x.com\"]}", "\"network.denyOut\" must have 0.0.0.0/0");
    must_refuse("{\"allowOut\":[\"x.com\"],\"denyOut\":[\"10.0.0.0/8\"]}", "0.0.0.0/0");
}

static void refused(void **state)
{
    static const char *const bad_names[] = {
        "",          "*",          "a b",      "http://a.b", "a.b:80", "*.",    "1.2.3",
        "1.2.3.4.5", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1", "a..b",   "*.*.b", "a.b/8"};
    for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
        _cleanup_free_ char *text = xasprintf(
            "{\"allowOut\":[\"1.1.1.1\",\"%s\"],\"denyOut\":[\"0.0.0.0/0\"]}", bad_names[i]);
        _cleanup_free_ char *where =
            xasprintf("\"network.allowOut\"[1]: \"%s\" is neither", bad_names[i]);
        must_refuse(text, where);
    }
    must_refuse("{\"denyOut\":[\"example.com\"]}", "\"network.denyOut\"[0]: \"example.com\" is");
    must_refuse("{\"allowOut\":[\"2001:db8::1\"]}", "IPv6");
    must_refuse("{\"allowOut\":\"1.1.1.1\"}", "\"network.allowOut\" must be an array");
    must_refuse("{\"denyOut\":[1]}", "\"network.denyOut\"[0] must be a string");
    must_refuse("{\"rules\":{\"a.b\":[]}}", "\"network.rules\" is not supported");
    must_refuse("{\"egressProxy\":{\"address\":\"a:1\"}}", "\"network.egressProxy\" is not");
    must_refuse("{\"dnsServers\":[\"1.1.1.1\"]}", "\"network.dnsServers\" is not");
    must_refuse("{\"httpsPorts\":[8443]}", "\"network.httpsPorts\" is not");
}

static void too_many(void **state)
{
    json_t *object = json_object(), *list = json_array();
    struct err err;
    for (int i = 0; i <= LAUNCHER_RANGES_MAX; i++)
        json_array_append_new(list, json_sprintf("10.0.%d.%d", i / 256, i % 256));
    json_object_set_new(object, "denyOut", list);
    assert_int_equal(network_from_json(object, "", true, &result, &err), -EINVAL);
    assert_string_equal(err.message, "\"denyOut\" has 257 entries, more than 256");
    json_array_remove(list, 0);
    assert_int_equal(network_from_json(object, "", true, &result, &err), 0);
    json_object_clear(object);
    list = json_array();
    char label[64];
    memset(label, 'a', 63);
    label[63] = '\0';
    for (int i = 0; i < 200; i++)
        json_array_append_new(list, json_string(label));
    json_object_set_new(object, "allowOut", list);
    assert_int_equal(network_from_json(object, "", false, &result, &err), -EINVAL);
    assert_non_null(strstr(err.message, "longer than 8192 bytes"));
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules), cmocka_unit_test(without_internet),
        cmocka_unit_test(ranges),        cmocka_unit_test(names),
        cmocka_unit_test(refused),       cmocka_unit_test(too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
