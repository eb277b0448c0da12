/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share that use a server: the connection, Ctrl-C, and how they say things. */
#pragma once

#include <carrel/client.h>
#include <jansson.h>
#include <stdio.h>

#include "cli/arguments.h"

struct cli {
    struct arguments args;
    struct carrel_client *client;   /* made by the first cli_sandbox or cli_client */
    struct carrel_sandbox *sandbox; /* that cli_sandbox found */
    struct carrel_cancel *cancel;   /* set by SIGINT, SIGTERM and SIGHUP */
    struct carrel_call call;        /* with the cancel above, and --user */
    struct carrel_error err;
};

/* Runs a command of the table; the exit status. */
int cli_run(const struct command *command, int argc, char **argv);

/* The client: 0 or an error. */
int cli_client(struct cli *cli);
/* Finds the sandbox that the text names. 0 or an error. */
int cli_sandbox(struct cli *cli, const char *text);
/* The nth operand, or NULL. */
const char *cli_operand(const struct cli *cli, size_t n);
bool cli_flag(const struct cli *cli, const char *name);
const char *cli_value(const struct cli *cli, const char *name);
/* An error of the command line: -CARREL_INVALID. */
int cli_wrong(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The value of an option as a number of least..most; *ret keeps its value when it is not given. */
int cli_number(struct cli *cli, const char *name, int64_t least, int64_t most, int64_t *ret);
/* NAME=VALUE values of a repeated option as pairs, to be freed with cli_pairs_free. */
int cli_pairs(struct cli *cli, const char *option, struct carrel_pair **ret);
void cli_pairs_free(struct carrel_pair *pairs);
/* "90", "90s", "15m", "2h", "1d" as seconds. 0 or -EINVAL. */
int cli_parse_seconds(const char *text, int64_t *ret);

/* Prints JSON on a line and lets go of it. */
void cli_print_json(json_t *json);
/* Prints text as it is to a file or pipe, and without control characters to a terminal: names of files
 * and processes are a sandbox's to choose. */
void cli_print_text(FILE *out, const char *text);
/* "12s", "5m", "3h", "2d": a duration short enough for a table. */
const char *cli_short_time(int64_t ms, char out[16]);
/* "512", "1.5K", "20M": a size. */
const char *cli_short_size(int64_t bytes, char out[16]);
