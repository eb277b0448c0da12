/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all commands, and help from it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"

#define END                               \
    {                                     \
        NULL, 0, NULL, NULL, COMMAND_TEXT \
    }
#define JSON                                        \
    {                                               \
        "json", 0, NULL, "print JSON", COMMAND_TEXT \
    }
#define USER                                                                           \
    {                                                                                  \
        "user", 'u', "NAME", "as this user of the sandbox, such as root", COMMAND_TEXT \
    }
#define ENV                                                                               \
    {                                                                                     \
        "env", 'e', "NAME=VALUE", "add to the environment; may be repeated", COMMAND_TEXT \
    }
#define CWD                                                                 \
    {                                                                       \
        "cwd", 'w', "DIR", "working directory in the sandbox", COMMAND_TEXT \
    }

static const struct command_option just_json[] = {JSON, END};
static const struct command_option just_user[] = {USER, END};
static const struct command_option create_options[] = {
    {"name", 'n', "NAME", "what other commands may call it", COMMAND_TEXT},
    {"template", 't', "NAME", "template to start from (base)", COMMAND_TEMPLATE},
    {"timeout", 0, "TIME", "life from now: 90, 15m, 2h, 1d (5m)", COMMAND_TEXT},
    ENV,
    {"metadata", 'm', "NAME=VALUE", "to be found by; may be repeated", COMMAND_TEXT},
    {"no-internet", 0, NULL, "no connections to the outside", COMMAND_TEXT},
    {"pause-at-end", 0, NULL, "pause at the end of its life instead of dying", COMMAND_TEXT},
    {"wake-on-traffic", 0, NULL, "with --pause-at-end: traffic wakes it", COMMAND_TEXT},
    {"dry-run", 0, NULL, "print what a sandbox would be; `carrel create --dry-run --help`",
     COMMAND_TEXT},
    JSON,
    END};
static const struct command_option ls_options[] = {
    {"long", 'l', NULL, "files: with permissions, owner, size and time", COMMAND_TEXT},
    {"quiet", 'q', NULL, "sandboxes: ids only", COMMAND_TEXT},
    {"metadata", 'm', "NAME=VALUE", "sandboxes: with this metadata", COMMAND_TEXT},
    {"state", 0, "STATE", "sandboxes: running or paused", COMMAND_TEXT},
    USER,
    JSON,
    END};
static const struct command_option exec_options[] = {
    USER,
    CWD,
    ENV,
    {"tty", 't', NULL, "in a terminal of its own", COMMAND_TEXT},
    {"stdin", 'i', NULL, "pass standard input on even if it is this terminal", COMMAND_TEXT},
    {"no-stdin", 'n', NULL, "pass no standard input on", COMMAND_TEXT},
    {"detach", 'd', NULL, "print its pid and let it run", COMMAND_TEXT},
    {"timeout", 0, "TIME", "kill it then: 90, 15m, 2h", COMMAND_TEXT},
    END};
static const struct command_option shell_options[] = {USER, CWD, ENV, END};
static const struct command_option attach_options[] = {
    {"from", 0, "OFFSET", "from this byte of its output; 0: from the beginning", COMMAND_TEXT},
    END};
static const struct command_option logs_options[] = {
    {"follow", 'f', NULL, "wait for more until it ends", COMMAND_TEXT}, END};
static const struct command_option signal_options[] = {
    {"signal", 's', "SIGNAL", "TERM, KILL, INT, HUP or a number (TERM)", COMMAND_TEXT},
    {"group", 'g', NULL, "to all processes of its group", COMMAND_TEXT},
    USER,
    END};
static const struct command_option find_options[] = {
    {"name", 0, "PATTERN", "names like this, such as '*.py'", COMMAND_TEXT},
    {"type", 0, "f|d", "only files, or only directories", COMMAND_TEXT},
    {"depth", 0, "N", "so many levels (all)", COMMAND_TEXT},
    {"long", 'l', NULL, "with permissions, owner, size and time", COMMAND_TEXT},
    USER,
    JSON,
    END};
static const struct command_option cp_options[] = {
    {"quiet", 'q', NULL, "no progress bar", COMMAND_TEXT}, USER, END};
static const struct command_option watch_options[] = {
    {"recursive", 'r', NULL, "subdirectories, too", COMMAND_TEXT},
    {"wait", 0, NULL, "the directory need not be there yet", COMMAND_TEXT},
    {"count", 0, "N", "end after so many changes", COMMAND_TEXT},
    USER,
    JSON,
    END};
static const struct command_option run_options[] = {
    {"code", 'c', "CODE", "this code", COMMAND_TEXT},
    {"language", 'L', "NAME", "python, javascript, bash, ... (python)", COMMAND_TEXT},
    ENV,
    JSON,
    END};
static const struct command_option top_options[] = {
    {"once", '1', NULL, "print one table", COMMAND_TEXT},
    {"interval", 'i', "SECONDS", "between two looks (5)", COMMAND_TEXT},
    JSON,
    END};
static const struct command_option timeout_options[] = {END};

#define SANDBOX_OF "SANDBOX is an id, the beginning of one, or a name given with `create --name`.\n"

const struct command commands[] = {
    {.name = "create",
     .usage = "[OPTION]...",
     .summary = "make a sandbox and print its id",
     .use = use_create,
     .options = create_options},
    {.name = "ls",
     .usage = "[OPTION]... [SANDBOX [PATH]...]",
     .summary = "list sandboxes, or files in one",
     .use = use_ls,
     .options = ls_options,
     .about = SANDBOX_OF,
     .most = -1,
     .words = {COMMAND_SANDBOX}},
    {.name = "info",
     .usage = "[--json] SANDBOX",
     .summary = "what a sandbox is and uses",
     .use = use_info,
     .options = just_json,
     .about = SANDBOX_OF,
     .least = 1,
     .most = 1,
     .words = {COMMAND_SANDBOX}},
    {.name = "kill",
     .usage = "SANDBOX...",
     .summary = "end sandboxes",
     .use = use_kill,
     .about = SANDBOX_OF,
     .least = 1,
     .most = -1,
     .words = {COMMAND_SANDBOX, COMMAND_SANDBOX}},
    {.name = "timeout",
     .usage = "SANDBOX TIME",
     .summary = "let it end so much from now",
     .use = use_timeout,
     .options = timeout_options,
     .least = 2,
     .most = 2,
     .about = "TIME is in seconds, or as in 15m, 2h, 1d.\n",
     .words = {COMMAND_SANDBOX}},
    {.name = "pause",
     .usage = "SANDBOX...",
     .summary = "stop all its processes in place",
     .use = use_pause,
     .least = 1,
     .most = -1,
     .words = {COMMAND_SANDBOX, COMMAND_SANDBOX}},
    {.name = "resume",
     .usage = "SANDBOX...",
     .summary = "let a paused sandbox go on",
     .use = use_resume,
     .least = 1,
     .most = -1,
     .words = {COMMAND_SANDBOX, COMMAND_SANDBOX}},
    {.name = "exec",
     .usage = "[OPTION]... SANDBOX COMMAND [ARG]...",
     .summary = "run a command in it",
     .use = use_exec,
     .options = exec_options,
     .least = 2,
     .most = -1,
     .rest_after = 1,
     .own_status = true,
     .keep_break = true,
     .words = {COMMAND_SANDBOX},
     .about = "The exit status is the command's; 128 and the number of a signal that ended it; 125 "
              "when\ncarrel itself failed. Ctrl-C goes to the command; the third one leaves it. "
              "Standard input is\npassed on unless it is this terminal.\n"},
    {.name = "shell",
     .usage = "[OPTION]... SANDBOX",
     .summary = "a terminal in it",
     .use = use_shell,
     .options = shell_options,
     .least = 1,
     .most = 1,
     .own_status = true,
     .keep_break = true,
     .words = {COMMAND_SANDBOX},
     .about = "Ctrl-] leaves the shell running; `carrel attach` comes back to it.\n"},
    {.name = "attach",
     .usage = "[--from OFFSET] SANDBOX PID",
     .summary = "the output of a running process, and its input",
     .use = use_attach,
     .options = attach_options,
     .least = 2,
     .most = 2,
     .own_status = true,
     .keep_break = true,
     .words = {COMMAND_SANDBOX},
     .about = "Begins with what nobody has been given yet. Ctrl-C, or Ctrl-] in a terminal, leaves "
              "it running.\n"},
    {.name = "logs",
     .usage = "[-f] SANDBOX PID",
     .summary = "the output of a process so far",
     .use = use_logs,
     .options = logs_options,
     .least = 2,
     .most = 2,
     .words = {COMMAND_SANDBOX},
     .about =
         "From its beginning, as far as the sandbox holds it; also 30 seconds after its end.\n"},
    {.name = "ps",
     .usage = "[--json] SANDBOX",
     .summary = "processes started from outside",
     .use = use_ps,
     .options = just_json,
     .least = 1,
     .most = 1,
     .words = {COMMAND_SANDBOX}},
    {.name = "signal",
     .usage = "[-s SIGNAL] [-g] SANDBOX PID...",
     .summary = "send a signal",
     .use = use_signal,
     .options = signal_options,
     .least = 2,
     .most = -1,
     .words = {COMMAND_SANDBOX}},
    {.name = "cp",
     .usage = "[OPTION]... FROM... TO",
     .summary = "copy files and directories in or out",
     .use = use_cp,
     .options = cp_options,
     .least = 2,
     .most = -1,
     .words = {COMMAND_LOCAL_FILE, COMMAND_LOCAL_FILE},
     .about = "One side is SANDBOX:PATH. Into a directory that is there, or a TO that ends in /, "
              "the copy\nkeeps its name. A file appears when it is complete. Say ./a:b for a local "
              "file named a:b.\n"},
    {.name = "cat",
     .usage = "SANDBOX PATH...",
     .summary = "print files",
     .use = use_cat,
     .options = just_user,
     .least = 2,
     .most = -1,
     .words = {COMMAND_SANDBOX}},
    {.name = "write",
     .usage = "SANDBOX PATH",
     .summary = "standard input into a file",
     .use = use_write,
     .options = just_user,
     .least = 2,
     .most = 2,
     .words = {COMMAND_SANDBOX}},
    {.name = "rm",
     .usage = "SANDBOX PATH...",
     .summary = "remove files and directories",
     .use = use_rm,
     .options = just_user,
     .least = 2,
     .most = -1,
     .words = {COMMAND_SANDBOX}},
    {.name = "mv",
     .usage = "SANDBOX FROM TO",
     .summary = "rename in the sandbox",
     .use = use_mv,
     .options = just_user,
     .least = 3,
     .most = 3,
     .words = {COMMAND_SANDBOX}},
    {.name = "mkdir",
     .usage = "SANDBOX PATH...",
     .summary = "make directories, with parents",
     .use = use_mkdir,
     .options = just_user,
     .least = 2,
     .most = -1,
     .words = {COMMAND_SANDBOX}},
    {.name = "find",
     .usage = "[OPTION]... SANDBOX [PATH]",
     .summary = "all files below a directory",
     .use = use_find,
     .options = find_options,
     .least = 1,
     .most = 2,
     .words = {COMMAND_SANDBOX}},
    {.name = "watch",
     .usage = "[OPTION]... SANDBOX PATH",
     .summary = "print changes as they happen",
     .use = use_watch,
     .options = watch_options,
     .least = 2,
     .most = 2,
     .words = {COMMAND_SANDBOX}},
    {.name = "run",
     .usage = "[OPTION]... SANDBOX [-c CODE | FILE | -]",
     .summary = "run code in its interpreter",
     .use = use_run,
     .options = run_options,
     .least = 1,
     .most = 2,
     .words = {COMMAND_SANDBOX, COMMAND_LOCAL_FILE},
     .about = "Variables stay from run to run. The exit status is 1 after an exception. Needs the "
              "template\ncode-interpreter-v1. Ctrl-C interrupts the code.\n"},
    {.name = "url",
     .usage = "SANDBOX PORT",
     .summary = "the address of a port of it",
     .use = use_url,
     .least = 2,
     .most = 2,
     .words = {COMMAND_SANDBOX}},
    {.name = "top",
     .usage = "[OPTION]...",
     .summary = "what all sandboxes use",
     .use = use_top,
     .options = top_options},
    {.name = "template",
     .usage = "[--json] [ls | info NAME]",
     .summary = "templates of the server",
     .use = use_template,
     .options = just_json,
     .most = 2,
     .words = {COMMAND_TEXT, COMMAND_TEMPLATE}},
    {.name = "serve",
     .usage = "[--listen ADDR:PORT]...",
     .summary = "serve the API and run sandboxes (needs root)",
     .run = command_serve},
    {.name = "env",
     .usage = "[--state DIR] [--run DIR]",
     .summary = "print the variables that clients need",
     .run = command_env},
    {.name = "key",
     .usage = "create|list|revoke...",
     .summary = "make, show and revoke API keys",
     .run = command_key},
    {.name = "cert",
     .usage = "DOMAIN [--out DIR]...",
     .summary = "make a private authority and a certificate for TLS",
     .run = command_cert},
    {.name = "doctor",
     .usage = "[--json]...",
     .summary = "what this host offers and what it lacks",
     .run = command_doctor},
    {.name = "selftest",
     .usage = "[--json]...",
     .summary = "try to break out of a sandbox, and say what holds (needs root)",
     .run = command_selftest},
    {.name = "completion",
     .usage = "bash|zsh|fish",
     .summary = "completion for a shell",
     .run = command_completion},
    {.name = NULL},
};

const struct command *command_find(const char *name)
{
    for (const struct command *c = commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static void print_one(const struct command *command)
{
    printf("usage: carrel %s %s\n\n%s.\n", command->name, command->usage, command->summary);
    if (command->about)
        printf("\n%s", command->about);
    if (command->options && command->options->name)
        printf("\n");
    for (const struct command_option *o = command->options; o && o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        if (o->letter)
            printf("  -%c, %-24s %s\n", o->letter, left, o->help);
        else
            printf("      %-24s %s\n", left, o->help);
    }
}

void command_print_help(const struct command *command)
{
    if (command) {
        print_one(command);
        return;
    }
    printf("usage: carrel COMMAND [OPTION]... [ARGUMENT]...\n\n");
    for (const struct command *c = commands; c->name; c++)
        printf("  %-10s  %s\n", c->name, c->summary);
    printf("\n`carrel help COMMAND` tells more. E2B_API_KEY and E2B_API_URL say which server is "
           "meant;\nroot on the server's own host needs neither.\n");
}
