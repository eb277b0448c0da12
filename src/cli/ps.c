/* SPDX-License-Identifier: Apache-2.0 */
/* carrel ps, signal: processes in a sandbox. */
#include <signal.h>
#include <string.h>

#include "base/str.h"
#include "cli/cli.h"

static json_t *as_json(const struct carrel_process_info *info)
{
    json_t *argv = json_array();
    for (size_t i = 0; info->argv[i]; i++)
        json_array_append_new(argv, json_string(info->argv[i]));
    return json_pack("{s:I, s:s, s:s, s:o}", "pid", (json_int_t)info->pid, "tag", info->tag, "cwd",
                     info->cwd, "argv", argv);
}

int use_ps(struct cli *cli)
{
    struct carrel_process_list list;
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc == 0)
        rc = carrel_process_list(cli->sandbox, &cli->call, &list, &cli->err);
    if (rc < 0)
        return rc;
    json_t *array = cli_flag(cli, "json") ? json_array() : NULL;
    if (!array)
        printf("%7s  %s\n", "PID", "COMMAND");
    for (size_t i = 0; i < list.count; i++) {
        if (array) {
            json_array_append_new(array, as_json(&list.items[i]));
            continue;
        }
        printf("%7u ", list.items[i].pid);
        for (size_t k = 0; list.items[i].argv[k]; k++) {
            putchar(' ');
            cli_print_text(stdout, list.items[i].argv[k]);
        }
        putchar('\n');
    }
    carrel_process_list_done(&list);
    if (array)
        cli_print_json(array);
    return 0;
}

/* "TERM", "SIGTERM", "15"; 0: none. */
static int take_signal(const char *text)
{
    uint64_t number;
    if (str_to_u64(str_from(text), NSIG - 1, &number) == 0)
        return (int)number;
    if (strncmp(text, "SIG", 3) == 0)
        text += 3;
    for (int i = 1; i < NSIG; i++) {
        const char *name = sigabbrev_np(i);
        if (name && strcmp(name, text) == 0)
            return i;
    }
    return 0;
}

int use_signal(struct cli *cli)
{
    const char *text = cli_value(cli, "signal") ? cli_value(cli, "signal") : "TERM";
    int number = take_signal(text);
    if (!number)
        return cli_wrong(cli, "\"%s\" is no signal", text);
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    for (size_t i = 1; rc == 0 && cli_operand(cli, i); i++) {
        uint64_t pid;
        if (str_to_u64(str_from(cli_operand(cli, i)), UINT32_MAX, &pid) < 0)
            return cli_wrong(cli, "\"%s\" is no pid", cli_operand(cli, i));
        rc = carrel_sandbox_signal(cli->sandbox, (unsigned)pid, number, cli_flag(cli, "group"),
                                   &cli->call, &cli->err);
    }
    return rc;
}
