/* SPDX-License-Identifier: Apache-2.0 */
/* config: options, file, and what wins. */
#include "unit.h"

#include <fcntl.h>

#include "base/fd.h"
#include "server/config.h"

static char *directory, *path;

static int set_up(void **state)
{
    directory = unit_directory();
    path = xasprintf("%s/c.conf", directory);
    return 0;
}

static int tear_down(void **state)
{
    free(path);
    unit_remove(directory, (const char *const[]){"c.conf", NULL});
    return 0;
}

static int load(struct config *config, struct err *err, const char *file, const char *const *argv,
                int argc)
{
    *config = (struct config){0};
    *err = (struct err){0};
    if (file)
        assert_int_equal(fd_replace_file(AT_FDCWD, path, file, strlen(file), 0600), 0);
    return config_load(config, argc, (char **)(uintptr_t)argv, err); /* never written to */
}

static void defaults(void **state)
{
    struct config c;
    struct err err;
    assert_int_equal(load(&c, &err, NULL, NULL, 0), 0);
    assert_string_equal(c.listen, "127.0.0.1:3000");
    assert_string_equal(c.templates, "/var/lib/carrel/templates");
    assert_int_equal(c.memory_mb, 2048);
    assert_int_equal(c.cpu_millis, 2000);
    assert_int_equal(c.max_timeout, 86400);
    assert_int_equal(c.keep_ended, 30);
    assert_int_equal(c.log_level, LOG_INFO);
    assert_false(c.ephemeral);
    config_done(&c);
}

static void options_and_file(void **state)
{
    struct config c;
    struct err err;
    const char *argv[] = {"--config", path, "--memory-mb=512", "--dns", "9.9.9.9", "--ephemeral"};
    assert_int_equal(load(&c, &err,
                          "# a comment\nlisten = [::1]:0\nmemory-mb = 64\ncpus = 0.5\n"
                          "dns = 1.1.1.1\ndns = 8.8.8.8\nlog-level = debug ; inline\n\n"
                          "templates = /srv/t\n",
                          argv, ARRAY_SIZE(argv)),
                     0);
    assert_string_equal(c.listen, "[::1]:0");
    assert_int_equal(c.memory_mb, 512); /* the command line wins */
    assert_int_equal(c.cpu_millis, 500);
    assert_int_equal(c.dns_count, 1); /* lists are replaced, not joined */
    assert_string_equal(c.dns[0], "9.9.9.9");
    assert_int_equal(c.log_level, LOG_DEBUG);
    assert_string_equal(c.templates, "/srv/t");
    assert_true(c.ephemeral);
    config_done(&c);
}

static void file_errors(void **state)
{
    static const struct {
        const char *file;
        int line;
        const char *says;
    } cases[] = {
        {"listen = 127.0.0.1:1\nlisen = x\n", 2, "unknown option \"lisen\""},
        {"\n\nmemory-mb = many\n", 3, "whole number"},
        {"[server]\nlisten = 127.0.0.1:1\n", 2, "section"},
        {"listen = 127.0.0.1:1\nlisten = 127.0.0.1:2\n", 2, "twice"},
        {"just words\n", 1, "name = value"},
        {"config = /x\n", 1, "unknown option"},
        {"dns = localhost\n", 1, "IPv4"},
        {"ephemeral = yes\n", 1, "true or false"},
        {"state =\n", 1, "empty"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config c;
        struct err err;
        const char *argv[] = {"--config", path};
        char where[200];
        assert_true(load(&c, &err, cases[i].file, argv, 2) < 0);
        snprintf(where, sizeof where, "%s:%d: ", path, cases[i].line);
        if (strncmp(err.message, where, strlen(where)) != 0 || !strstr(err.message, cases[i].says))
            fail_msg("case %zu says \"%s\"", i, err.message);
        config_done(&c);
    }
    char line[400];
    struct config c;
    struct err err;
    const char *argv[] = {"--config", path};
    memset(line, 'x', sizeof line - 1);
    line[399] = '\0';
    memcpy(line, "state = /", 9);
    assert_true(load(&c, &err, line, argv, 2) < 0);
    assert_non_null(strstr(err.message, "longer than"));
    config_done(&c);
}

static void option_errors(void **state)
{
    static const char *const cases[][3] = {
        {"--nope", "x", "unknown option --nope"}, {"--listen", NULL, "value is missing"},
        {"--listen", "3000", "ADDR:PORT"},        {"--listen", "::1:3000", "[ADDR]:PORT"},
        {"--listen", "127.0.0.1:70000", "ADDR"},  {"--cpus", "0", "number of CPUs"},
        {"--cpus", "1.2345", "number of CPUs"},   {"--pids", "-1", "whole number"},
        {"serve", NULL, "unexpected argument"},   {"--config", "/does/not/exist", "No such file"},
        {"--log-level", "loud", "debug, info"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config c;
        struct err err;
        const char *argv[] = {cases[i][0], cases[i][1]};
        assert_true(load(&c, &err, NULL, argv, cases[i][1] ? 2 : 1) < 0);
        if (!strstr(err.message, cases[i][2]))
            fail_msg("case %zu says \"%s\"", i, err.message);
        config_done(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test_setup_teardown(options_and_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(file_errors, set_up, tear_down),
        cmocka_unit_test(option_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
