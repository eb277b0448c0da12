/* SPDX-License-Identifier: Apache-2.0 */
/* carrel top: what all sandboxes use, again and again. */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static void print_row(const struct carrel_sandbox_info *info, const struct carrel_metrics *used)
{
    char memory[16], disk[16];
    cli_short_size(used->memory_used, memory);
    cli_short_size(used->disk_used, disk);
    printf("%-20s  %-7s  %6.1f  %4lld  %8s  %8s  ", info->id, info->state, used->cpu_percent,
           (long long)info->cpu_count, memory, disk);
    cli_print_text(stdout, info->name[0] ? info->name : "-");
    putchar('\n');
}

static int look(struct cli *cli, const struct carrel_sandbox_info *info, json_t *array)
{
    struct carrel_metrics used = {0};
    struct carrel_sandbox *sandbox;
    int rc = carrel_sandbox_find(cli->client, info->id, &cli->call, &sandbox, &cli->err);
    if (rc == 0) {
        rc = carrel_sandbox_metrics(sandbox, &cli->call, &used, &cli->err);
        carrel_sandbox_free(sandbox);
    }
    if (rc == -CARREL_NOT_FOUND) /* it ended meanwhile */
        return 0;
    if (rc == 0 && array)
        json_array_append_new(array, json_pack("{s:s, s:s, s:f, s:I, s:I}", "sandboxID", info->id,
                                               "state", info->state, "cpuUsedPct", used.cpu_percent,
                                               "memUsed", (json_int_t)used.memory_used, "diskUsed",
                                               (json_int_t)used.disk_used));
    else if (rc == 0)
        print_row(info, &used);
    return rc;
}

static int table(struct cli *cli)
{
    struct carrel_sandbox_list list;
    json_t *array = cli_flag(cli, "json") ? json_array() : NULL;
    int rc = carrel_sandbox_list(cli->client, NULL, &cli->call, &list, &cli->err);
    if (rc < 0) {
        json_decref(array);
        return rc;
    }
    if (!array)
        printf("%-20s  %-7s  %6s  %4s  %8s  %8s  %s\n", "SANDBOX", "STATE", "CPU %", "CPUS",
               "MEMORY", "DISK", "NAME");
    for (size_t i = 0; rc == 0 && i < list.count; i++)
        rc = look(cli, &list.items[i], array);
    carrel_sandbox_list_done(&list);
    if (rc == 0 && array)
        cli_print_json(json_incref(array));
    json_decref(array);
    return rc;
}

int use_top(struct cli *cli)
{
    int64_t seconds = 5;
    bool again = isatty(STDOUT_FILENO) && !cli_flag(cli, "once") && !cli_flag(cli, "json");
    int rc = cli_number(cli, "interval", 1, 3600, &seconds);
    if (rc == 0)
        rc = cli_client(cli);
    while (rc == 0) {
        if (again)
            printf("\033[H\033[2J");
        rc = table(cli);
        fflush(stdout);
        if (!again)
            break;
        if (rc == 0 && poll(NULL, 0, (int)seconds * 1000) < 0) /* a signal: the end */
            return 0;
    }
    return rc;
}
