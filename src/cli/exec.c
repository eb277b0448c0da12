/* SPDX-License-Identifier: Apache-2.0 */
/* carrel exec, shell, attach, logs: processes and their output. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/session.h"

enum { QUIET_MS = 1000 };

/* Whether standard input is more than this terminal or nothing. */
static bool input_is_given(void)
{
    struct stat st;
    return fstat(STDIN_FILENO, &st) == 0 &&
           (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static int take_pid(struct cli *cli, const char *text, unsigned *ret)
{
    uint64_t pid;
    if (str_to_u64(str_from(text), UINT32_MAX, &pid) < 0 || pid == 0)
        return cli_wrong(cli, "\"%s\" is no pid; `carrel ps` shows them", text);
    *ret = (unsigned)pid;
    return 0;
}

/* Starts it and stays with it. Pairs are the environment of the command line. */
static int start(struct cli *cli, const char *const *argv, struct carrel_command *command,
                 struct session *session)
{
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc < 0)
        return rc;
    if (session->terminal)
        session_size(&command->columns, &command->rows);
    rc =
        carrel_process_start(cli->sandbox, argv, command, &cli->call, &session->process, &cli->err);
    if (rc == 0 && cli_flag(cli, "detach"))
        printf("%u\n", carrel_process_pid(session->process));
    else if (rc == 0)
        rc = session_run(session);
    carrel_process_free(session->process);
    return rc;
}

/* What a terminal's programs look at. */
static struct carrel_pair *add_terminal(struct carrel_pair *envs)
{
    const char *term = getenv("TERM");
    const struct carrel_pair more[] = {{"TERM", term && *term ? term : "xterm-256color"},
                                       {"LANG", "C.UTF-8"}};
    size_t n = 0;
    while (envs[n].name)
        n++;
    struct carrel_pair *all = xcalloc(n + ARRAY_SIZE(more) + 1, sizeof *all);
    for (size_t i = 0; i < ARRAY_SIZE(more); i++)
        all[i] = (struct carrel_pair){xstrdup(more[i].name), more[i].value};
    memcpy(all + ARRAY_SIZE(more), envs, n * sizeof *all); /* what is given wins */
    free(envs);
    return all;
}

int use_exec(struct cli *cli)
{
    struct carrel_pair *envs = NULL;
    const char *limit = cli_value(cli, "timeout");
    int64_t seconds = 0;
    if (limit && cli_parse_seconds(limit, &seconds) < 0)
        return cli_wrong(cli, "--timeout: \"%s\" is no time such as 90, 15m or 2h", limit);
    int rc = cli_pairs(cli, "env", &envs);
    if (rc < 0)
        return rc;
    bool tty = cli_flag(cli, "tty"), detach = cli_flag(cli, "detach");
    bool input = !detach && !cli_flag(cli, "no-stdin") &&
                 (tty || cli_flag(cli, "stdin") || input_is_given());
    if (tty)
        envs = add_terminal(envs);
    struct carrel_command command = {
        .envs = envs,
        .cwd = cli_value(cli, "cwd"),
        .open_stdin = input,
        .time_limit_ms = seconds * 1000,
    };
    struct session session = {.cli = cli, .input = input, .terminal = tty};
    rc = start(cli, cli->args.operands + 1, &command, &session);
    cli_pairs_free(envs);
    return rc;
}

int use_shell(struct cli *cli)
{
    static const char *const argv[] = {"/bin/bash", "-i", "-l", NULL};
    struct carrel_pair *envs = NULL;
    int rc = cli_pairs(cli, "env", &envs);
    if (rc < 0)
        return rc;
    envs = add_terminal(envs);
    struct carrel_command command = {.envs = envs, .cwd = cli_value(cli, "cwd")};
    struct session session = {.cli = cli, .input = true, .terminal = true};
    rc = start(cli, argv, &command, &session);
    cli_pairs_free(envs);
    return rc;
}

int use_attach(struct cli *cli)
{
    struct session session = {.cli = cli, .input = true, .break_leaves = true};
    int64_t offset = CARREL_UNREAD;
    unsigned pid, columns, rows;
    int rc = cli_number(cli, "from", 0, INT64_MAX, &offset);
    if (rc == 0)
        rc = take_pid(cli, cli_operand(cli, 1), &pid);
    if (rc == 0)
        rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc == 0)
        rc = carrel_process_attach(cli->sandbox, pid, offset, &cli->call, &session.process,
                                   &cli->err);
    if (rc < 0)
        return rc;
    /* Only what runs in a terminal can be given a size. */
    session_size(&columns, &rows);
    session.terminal = carrel_process_resize(session.process, columns, rows, &cli->call, NULL) == 0;
    session.input = session.terminal || input_is_given();
    rc = session_run(&session);
    carrel_process_free(session.process);
    return rc;
}

int use_logs(struct cli *cli)
{
    struct carrel_process *process;
    struct carrel_output output;
    int64_t wait_ms = cli_flag(cli, "follow") ? -1 : QUIET_MS;
    unsigned pid;
    int rc = take_pid(cli, cli_operand(cli, 1), &pid);
    if (rc == 0)
        rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc == 0)
        rc = carrel_process_attach(cli->sandbox, pid, 0, &cli->call, &process, &cli->err);
    if (rc < 0)
        return rc;
    while ((rc = carrel_process_next(process, wait_ms, &output, &cli->err)) == 1) {
        if (output.missed)
            fprintf(stderr, "[%llu bytes are lost]\n", (unsigned long long)output.missed);
        if (fwrite(output.bytes, 1, output.len, stdout) != output.len || fflush(stdout) != 0)
            break; /* told by who looks at stdout at the end */
    }
    carrel_process_free(process);
    return rc == -CARREL_TIMEOUT && wait_ms > 0 ? 0 : rc < 0 ? rc : 0;
}
