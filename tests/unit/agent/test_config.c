/* SPDX-License-Identifier: Apache-2.0 */
/* config: what is configured, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/config.h"
#include "base/mem.h"

static int parse(const char *json, struct agent_config *config, struct err *err)
{
    return agent_config_parse(json, strlen(json), config, err);
}

static void a_whole_configuration(void **state)
{
    struct agent_config config = {0};
    struct err err;
    assert_int_equal(
        parse("{\"sandboxId\":\"i1\",\"templateId\":\"base\",\"envs\":{\"B\":\"2\",\"A\":\"\"},"
              "\"defaultUser\":\"user\",\"defaultWorkdir\":\"/home/user\","
              "\"memoryBytes\":\"536870912\",\"cpuMillis\":2000,\"more\":{}}",
              &config, &err),
        0);
    assert_string_equal(config.sandbox_id, "i1");
    assert_string_equal(config.template_id, "base");
    assert_string_equal(config.default_user, "user");
    assert_string_equal(config.default_workdir, "/home/user");
    assert_int_equal(config.env_count, 2);
    assert_string_equal(config.envs[0].name, "B"); /* the order stays */
    assert_string_equal(agent_config_env(&config, "A"), "");
    assert_null(agent_config_env(&config, "C"));
    assert_int_equal(config.memory_bytes, 536870912);
    assert_int_equal(config.cpu_millis, 2000);
    assert_int_equal(parse("{\"defaultUser\":\"\",\"envs\":null}", &config, &err), 0);
    assert_null(config.default_user);
    assert_int_equal(config.env_count, 0);
    agent_config_done(&config);
}

static void hostile_text_changes_nothing(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "\"x\"",
        "{\"sandboxId\":1}",
        "{\"envs\":[]}",
        "{\"envs\":{\"\":\"x\"}}",
        "{\"envs\":{\"A\":1}}",
        "{\"envs\":{\"A\":null}}",
        "{\"envs\":{\"A=B\":\"x\"}}",
        "{\"envs\":{\"A\":\"\\u0000\"}}",
        "{\"memoryBytes\":-1}",
        "{\"memoryBytes\":1e300}",
        "{\"cpuMillis\":-1}",
        "{\"cpuMillis\":4294967296}",
        "{\"defaultWorkdir\":\"x\"}",
        "{\"defaultUser\":{}}",
        "{}{}",
        "{\"envs\":{\"A\":\"\xff\"}}",
    };
    struct agent_config config = {0};
    struct err err;
    assert_int_equal(parse("{\"sandboxId\":\"kept\",\"envs\":{\"K\":\"v\"}}", &config, &err), 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_true(parse(texts[i], &config, &err) < 0);
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(config.sandbox_id, "kept");
        assert_string_equal(agent_config_env(&config, "K"), "v");
    }
    agent_config_done(&config);
}

static void deep_and_long(void **state)
{
    enum { DEEP = 100000 };
    struct agent_config config = {0};
    struct err err;
    char *text = xmalloc(DEEP + 1);
    memset(text, '[', DEEP);
    text[DEEP] = '\0';
    assert_true(parse(text, &config, &err) < 0);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_configuration),
        cmocka_unit_test(hostile_text_changes_nothing),
        cmocka_unit_test(deep_and_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
