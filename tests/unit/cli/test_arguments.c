/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines read by a table of options. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/arguments.h"

static const struct command_option options[] = {
    {"long", 'l', NULL, "", COMMAND_TEXT},
    {"name", 'n', "NAME", "", COMMAND_TEXT},
    {NULL, 0, NULL, NULL, COMMAND_TEXT},
};
static const struct command plain = {.name = "plain", .options = options, .least = 1, .most = 2};
static const struct command running = {
    .name = "run", .options = options, .least = 2, .most = -1, .rest_after = 1};

static struct arguments a;
static struct err err;

static int parse(const struct command *command, const char *line)
{
    static char text[200];
    char *argv[20], *rest = text;
    int argc = 0;
    snprintf(text, sizeof text, "%s", line);
    while ((argv[argc] = strsep(&rest, " ")) != NULL)
        argc++;
    return arguments_parse(command, argc, argv, &a, &err);
}

static void expect(const struct command *command, const char *line, bool is_long, const char *name,
                   const char *operands)
{
    char found[200] = "";
    assert_int_equal(parse(command, line), 0);
    assert_int_equal(arguments_has(&a, "long"), is_long);
    if (name)
        assert_string_equal(arguments_value(&a, "name"), name);
    else
        assert_null(arguments_value(&a, "name"));
    for (size_t i = 0; i < a.operand_count; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", i ? " " : "",
                 a.operands[i]);
    assert_string_equal(found, operands);
    arguments_done(&a);
}

static void test_forms(void **state)
{
    expect(&plain, "plain a", false, NULL, "a");
    expect(&plain, "plain -l --name=x a", true, "x", "a");
    expect(&plain, "plain a --name x b --long", true, "x", "a b");
    expect(&plain, "plain -ln x a", true, "x", "a");
    expect(&plain, "plain -lnx a", true, "x", "a");
    expect(&plain, "plain --name= a", false, "", "a");
    expect(&plain, "plain -n a -n b c", false, "b", "c");
    expect(&plain, "plain -- -l", false, NULL, "-l");
    expect(&plain, "plain -", false, NULL, "-");
}

static void test_a_command_keeps_its_own_options(void **state)
{
    expect(&running, "run -l box ls -l --name", true, NULL, "box ls -l --name");
    expect(&running, "run box -- ls --", false, NULL, "box ls --");
    expect(&running, "run -- box ls", false, NULL, "box ls");
}

static void test_repeated(void **state)
{
    assert_int_equal(parse(&plain, "plain -n a --name b c"), 0);
    assert_string_equal(arguments_nth(&a, "name", 0), "a");
    assert_string_equal(arguments_nth(&a, "name", 1), "b");
    assert_null(arguments_nth(&a, "name", 2));
    arguments_done(&a);
}

static void test_what_is_wrong(void **state)
{
    static const char *const lines[] = {"plain",           "plain a b c", "plain -x a",
                                        "plain --what a",  "plain a -n",  "plain a --name",
                                        "plain --long=1 a"};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        assert_int_equal(parse(&plain, lines[i]), -EINVAL);
        assert_true(err.message[0] != '\0');
    }
    assert_int_equal(parse(&plain, "plain --help"), 0); /* asks, and need not be complete */
    arguments_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_a_command_keeps_its_own_options),
        cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
