/* SPDX-License-Identifier: Apache-2.0 */
/* A command line read by a command's table of options. */
#include "cli/arguments.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* Options that every command has. */
static const struct command_option common[] = {
    {"help", 'h', NULL, "print this", COMMAND_TEXT},
    {NULL, 0, NULL, NULL, COMMAND_TEXT},
};

static const struct command_option *by_name(const struct command_option *options, struct str name)
{
    for (; options && options->name; options++)
        if (str_eqz(name, options->name))
            return options;
    return NULL;
}

static const struct command_option *by_letter(const struct command_option *options, char letter)
{
    for (; options && options->name; options++)
        if (options->letter == letter)
            return options;
    return NULL;
}

static void add(struct arguments *a, const struct command_option *option, const char *value)
{
    a->given[a->given_count++] = (struct argument){option, value};
}

static int parse_long(struct arguments *a, char **argv, int *i, struct err *err)
{
    struct str rest = str_from(argv[*i] + 2), name;
    const char *equals = strchr(argv[*i] + 2, '=');
    str_split(&rest, '=', &name);
    const struct command_option *option = by_name(a->command->options, name);
    if (!option)
        option = by_name(common, name);
    if (!option)
        return err_set(err, ERR_INVALID, 0, "there is no option --%.*s", STR_ARG(name));
    if (!option->value && equals)
        return err_set(err, ERR_INVALID, 0, "--%s takes no value", option->name);
    if (option->value && !equals && !argv[*i + 1])
        return err_set(err, ERR_INVALID, 0, "--%s needs %s", option->name, option->value);
    add(a, option, !option->value ? "" : equals ? equals + 1 : argv[++*i]);
    return 0;
}

/* "-lr", "-nVALUE", "-n VALUE" */
static int parse_short(struct arguments *a, char **argv, int *i, struct err *err)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct command_option *option = by_letter(a->command->options, *p);
        if (!option)
            option = by_letter(common, *p);
        if (!option)
            return err_set(err, ERR_INVALID, 0, "there is no option -%c", *p);
        if (!option->value) {
            add(a, option, "");
            continue;
        }
        if (!p[1] && !argv[*i + 1])
            return err_set(err, ERR_INVALID, 0, "-%c needs %s", *p, option->value);
        add(a, option, p[1] ? p + 1 : argv[++*i]);
        return 0;
    }
    return 0;
}

static int check_count(const struct arguments *a, struct err *err)
{
    int n = (int)a->operand_count;
    if (arguments_has(a, "help"))
        return 0;
    if (n < a->command->least)
        return err_set(err, ERR_INVALID, 0, "something is missing");
    if (a->command->most >= 0 && n > a->command->most)
        return err_set(err, ERR_INVALID, 0, "\"%s\" is too much", a->operands[a->command->most]);
    return 0;
}

int arguments_parse(const struct command *command, int argc, char **argv, struct arguments *ret,
                    struct err *err)
{
    size_t letters = 1;
    for (int i = 0; i < argc; i++)
        letters += strlen(argv[i]) + 1; /* no argument gives more options than it has letters */
    *ret = (struct arguments){.command = command};
    ret->given = xcalloc(letters, sizeof *ret->given);
    ret->operands = xcalloc((size_t)argc + 1, sizeof *ret->operands);
    bool options = true;
    int rc = 0;
    for (int i = 1; i < argc && rc == 0; i++) {
        const char *word = argv[i];
        if (command->rest_after && (int)ret->operand_count >= command->rest_after)
            options = false;
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && strncmp(word, "--", 2) == 0)
            rc = parse_long(ret, argv, &i, err);
        else if (options && word[0] == '-' && word[1])
            rc = parse_short(ret, argv, &i, err);
        else if (strcmp(word, "--") != 0 || ret->operand_count != 1 || command->rest_after != 1)
            ret->operands[ret->operand_count++] = word; /* `exec SANDBOX -- ls` is meant well */
    }
    if (rc == 0)
        rc = check_count(ret, err);
    if (rc < 0)
        arguments_done(ret);
    return rc;
}

void arguments_done(struct arguments *arguments)
{
    free(arguments->given);
    free(arguments->operands);
    *arguments = (struct arguments){0};
}

const char *arguments_nth(const struct arguments *arguments, const char *name, size_t n)
{
    for (size_t i = 0; i < arguments->given_count; i++)
        if (strcmp(arguments->given[i].option->name, name) == 0 && n-- == 0)
            return arguments->given[i].value;
    return NULL;
}

const char *arguments_value(const struct arguments *arguments, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < arguments->given_count; i++)
        if (strcmp(arguments->given[i].option->name, name) == 0)
            value = arguments->given[i].value;
    return value;
}

bool arguments_has(const struct arguments *arguments, const char *name)
{
    return arguments_value(arguments, name) != NULL;
}
