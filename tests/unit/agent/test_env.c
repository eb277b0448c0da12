/* SPDX-License-Identifier: Apache-2.0 */
/* env: the order of protocol.md 5.2, each name once. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/env.h"
#include "base/mem.h"

static struct passwd_user user = {.name = (char *)"ann", .home = (char *)"/home/ann"};

static const char *value(char **env, const char *name)
{
    const char *found = NULL;
    size_t len = strlen(name);
    for (char **e = env; *e; e++) {
        if (strncmp(*e, name, len) != 0 || (*e)[len] != '=')
            continue;
        assert_null(found); /* each name once */
        found = *e + len + 1;
    }
    return found;
}

static void later_ones_win(void **state)
{
    struct agent_env global[] = {{(char *)"HOME", (char *)"/global"},
                                 {(char *)"A", (char *)"1"},
                                 {(char *)"B", (char *)"1"}};
    struct agent_env own[] = {{(char *)"B", (char *)"2"},
                              {(char *)"C", (char *)"x=y"},
                              {(char *)"D", (char *)""},
                              {(char *)"PAT", (char *)"h"}};
    struct agent_config config = {.envs = global, .env_count = 3};
    char **env = env_build(&config, &user, own, 4);
    assert_string_equal(value(env, "PATH"),
                        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    assert_string_equal(value(env, "HOME"), "/global");
    assert_string_equal(value(env, "USER"), "ann");
    assert_string_equal(value(env, "LOGNAME"), "ann");
    assert_string_equal(value(env, "A"), "1");
    assert_string_equal(value(env, "B"), "2");
    assert_string_equal(value(env, "C"), "x=y");
    assert_string_equal(value(env, "D"), "");
    assert_string_equal(value(env, "PAT"), "h");
    env_free(env);
}

static void tens_of_thousands(void **state)
{
    enum { MANY = 60000 };
    struct agent_env *own = xcalloc(MANY, sizeof *own);
    struct agent_config config = {0};
    for (int i = 0; i < MANY; i++)
        own[i] = (struct agent_env){xasprintf("N%d", i / 2), xasprintf("%d", i)};
    char **env = env_build(&config, &user, own, MANY);
    size_t count = 0;
    while (env[count])
        count++;
    assert_int_equal(count, 4 + MANY / 2);
    assert_string_equal(value(env, "N29999"), "59999");
    env_free(env);
    for (int i = 0; i < MANY; i++) {
        free(own[i].name);
        free(own[i].value);
    }
    free(own);
    env_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_ones_win),
        cmocka_unit_test(tens_of_thousands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
