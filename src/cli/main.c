/* SPDX-License-Identifier: Apache-2.0 */
/* The `carrel` command: finds the subcommand and calls it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"

static command_fn help;
static command_fn version;

static const struct {
    const char *name;
    command_fn *run;
    const char *usage;
    const char *help;
} commands[] = {
    {"serve", command_serve, "[--listen ADDR:PORT] …",
     "serve the API and run sandboxes (needs root)"},
    {"create", command_create, "--dry-run [--json] …", "print what a sandbox would be"},
    {"env", command_env, "[--state DIR] [--run DIR]", "print the variables that clients need"},
    {"key", command_key, "create|list|revoke …", "make, show and revoke API keys"},
    {"cert", command_cert, "DOMAIN [--out DIR] …",
     "make a private authority and a certificate for TLS"},
    {"doctor", command_doctor, "[--json] …", "what this host offers and what it lacks"},
    {"selftest", command_selftest, "[--json] …",
     "try to break out of a sandbox, and say what holds (needs root)"},
    {"version", version, "", "print the version"},
    {"help", help, "", "print this"},
};

static void print_help(FILE *out)
{
    fprintf(out, "usage: carrel COMMAND …\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        fprintf(out, "  carrel %-8s %-26s %s\n", commands[i].name, commands[i].usage,
                commands[i].help);
    fprintf(out, "\n`carrel COMMAND --help` tells more.\n");
}

static int help(int argc, char **argv)
{
    print_help(stdout);
    return 0;
}

static int version(int argc, char **argv)
{
    printf("carrel %s\n", CARREL_VERSION);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "carrel: there is no command \"%s\"; see `carrel help`\n", name);
    return 2;
}
