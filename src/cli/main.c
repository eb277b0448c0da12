/* SPDX-License-Identifier: Apache-2.0 */
/* The `carrel` command: finds the subcommand and calls it. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

static int help(int argc, char **argv)
{
    const struct command *command = argc > 2 ? command_find(argv[2]) : NULL;
    if (argc > 2 && !command) {
        fprintf(stderr, "carrel: there is no command \"%s\"; see `carrel help`\n", argv[2]);
        return 2;
    }
    if (command && command->run) {
        char *asked[] = {argv[2], (char *)"--help", NULL};
        return command->run(2, asked);
    }
    command_print_help(command);
    return 0;
}

static bool is_dry_run(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--dry-run") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    const char *name = argc > 1 ? argv[1] : "";
    if (argc < 2) {
        fprintf(stderr, "usage: carrel COMMAND [ARGUMENT]...; see `carrel help`\n");
        return 2;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc, argv);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        printf("carrel %s\n", CARREL_VERSION);
        return 0;
    }
    const struct command *command = command_find(name);
    if (!command) {
        fprintf(stderr, "carrel: there is no command \"%s\"; see `carrel help`\n", name);
        return 2;
    }
    if (strcmp(name, "create") == 0 && is_dry_run(argc, argv))
        return command_dry_run(argc - 1, argv + 1);
    if (command->run)
        return command->run(argc - 1, argv + 1);
    return cli_run(command, argc - 1, argv + 1);
}
