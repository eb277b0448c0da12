/* SPDX-License-Identifier: Apache-2.0 */
/* A command line read by a command's table of options: --name VALUE, --name=VALUE, -n VALUE, flags, and
 * -- before what must not be an option. */
#pragma once

#include "base/err.h"
#include "cli/command.h"

struct arguments {
    const struct command *command;
    struct argument {
        const struct command_option *option;
        const char *value; /* "" for a flag */
    } * given;
    size_t given_count;
    const char **operands; /* ends with NULL */
    size_t operand_count;
};

/* argv[0] is the command's name. 0, or -errno with err. Borrows argv. */
int arguments_parse(const struct command *command, int argc, char **argv, struct arguments *ret,
                    struct err *err);
void arguments_done(struct arguments *arguments);

bool arguments_has(const struct arguments *arguments, const char *name);
/* The last value, or NULL. */
const char *arguments_value(const struct arguments *arguments, const char *name);
/* The nth value of an option that may be repeated, or NULL. */
const char *arguments_nth(const struct arguments *arguments, const char *name, size_t n);
