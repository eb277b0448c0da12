/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `carrel`: one table, in commands.c, that the program's dispatch, its help and the
 * completion of all shells come from. A new command takes an entry there, a line here and a file. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* argv[0] is the subcommand's name. The result is the exit status (base/err.h). */
typedef int command_fn(int argc, char **argv);
struct cli;
/* A command that uses a server: 0 or more is the exit status, less is an error that cli->err tells. */
typedef int command_user_fn(struct cli *cli);

/* What an operand or a value is, for completion. */
enum command_word {
    COMMAND_TEXT,
    COMMAND_SANDBOX,
    COMMAND_LOCAL_FILE,
    COMMAND_TEMPLATE,
};

struct command_option {
    const char *name;  /* without the dashes; NULL ends the list */
    char letter;       /* 0: none */
    const char *value; /* what it takes, such as "SECONDS"; NULL: nothing */
    const char *help;
    enum command_word word;
};

struct command {
    const char *name; /* NULL ends the table */
    const char *usage;
    const char *summary;
    const char *about; /* more help; NULL: none */
    command_fn *run;   /* reads its own arguments, or */
    command_user_fn *use;
    const struct command_option *options;
    int least, most; /* operands; most -1: any number */
    int rest_after;  /* so many operands end the options; 0: they may be anywhere */
    bool own_status; /* its status is a remote program's: failures of carrel itself are 125 */
    bool keep_break; /* has its own use for Ctrl-C */
    enum command_word words[2]; /* of the first operand, and of all others */
};

extern const struct command commands[];
const struct command *command_find(const char *name);
/* All of the table, or one command. */
void command_print_help(const struct command *command);

command_fn command_serve;      /* serve.c */
command_fn command_dry_run;    /* create.c */
command_fn command_cert;       /* cert.c */
command_fn command_env;        /* env.c */
command_fn command_key;        /* key.c */
command_fn command_selftest;   /* selftest.c */
command_fn command_doctor;     /* doctor.c */
command_fn command_completion; /* completion.c */

command_user_fn use_create, use_kill, use_timeout, use_pause, use_resume, use_url; /* life.c */
command_user_fn use_ls, use_info, use_template;                                    /* list.c */
command_user_fn use_exec, use_shell, use_attach, use_logs;                         /* exec.c */
command_user_fn use_ps, use_signal;                                                /* ps.c */
command_user_fn use_cat, use_write, use_rm, use_mv, use_mkdir;                     /* files.c */
command_user_fn use_find;                                                          /* find.c */
command_user_fn use_cp;                                                            /* cp.c */
command_user_fn use_watch;                                                         /* watch.c */
command_user_fn use_run;                                                           /* run.c */
command_user_fn use_top;                                                           /* top.c */
