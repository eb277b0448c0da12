/* SPDX-License-Identifier: Apache-2.0 */
/* carrel watch: changes in a directory, as they happen. */
#include "cli/cli.h"

static void print(const struct carrel_event *event, bool json)
{
    if (json) {
        char *text = json_dumps(
            json_pack("{s:s, s:s}", "type", carrel_change_name(event->change), "name", event->name),
            JSON_COMPACT);
        puts(text ? text : "");
        free(text);
        return;
    }
    printf("%-6s  ", carrel_change_name(event->change));
    cli_print_text(stdout, event->name);
    putchar('\n');
}

int use_watch(struct cli *cli)
{
    const struct carrel_watch_options options = {.recursive = cli_flag(cli, "recursive"),
                                                 .wait = cli_flag(cli, "wait")};
    struct carrel_watch *watch;
    struct carrel_event event;
    int64_t left = -1;
    int rc = cli_number(cli, "count", 1, INT64_MAX, &left);
    if (rc == 0)
        rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc == 0)
        rc = carrel_watch_start(cli->sandbox, cli_operand(cli, 1), &options, &cli->call, &watch,
                                &cli->err);
    if (rc < 0)
        return rc;
    fprintf(stderr, "watching %s\n", cli_operand(cli, 1));
    while (left != 0 && rc == 0 && !ferror(stdout)) {
        rc = carrel_watch_next(watch, -1, &event, &cli->err);
        if (rc < 0)
            break;
        print(&event, cli_flag(cli, "json"));
        fflush(stdout);
        left -= left > 0;
    }
    carrel_watch_free(watch);
    return rc;
}
