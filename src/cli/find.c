/* SPDX-License-Identifier: Apache-2.0 */
/* carrel find: all files below a directory. */
#include <fnmatch.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/entries.h"

static bool wanted(const struct carrel_entry *entry, const char *pattern, const char *type)
{
    if (pattern && fnmatch(pattern, entry->name, 0) != 0)
        return false;
    return !type || (type[0] == 'd') == (entry->type == CARREL_FILE_DIRECTORY && !entry->link);
}

int use_find(struct cli *cli)
{
    const char *pattern = cli_value(cli, "name"), *type = cli_value(cli, "type");
    const char *path = cli_operand(cli, 1) ? cli_operand(cli, 1) : "";
    struct carrel_entry_list list;
    int64_t depth = INT32_MAX;
    int rc = cli_number(cli, "depth", 1, INT32_MAX, &depth);
    if (rc == 0 && type && strcmp(type, "f") != 0 && strcmp(type, "d") != 0)
        rc = cli_wrong(cli, "--type is f or d");
    if (rc == 0)
        rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc == 0)
        rc = carrel_file_list(cli->sandbox, path, (unsigned)depth, &cli->call, &list, &cli->err);
    if (rc < 0)
        return rc;
    json_t *array = cli_flag(cli, "json") ? json_array() : NULL;
    for (size_t i = 0; i < list.count; i++) {
        const struct carrel_entry *entry = &list.items[i];
        if (!wanted(entry, pattern, type))
            continue;
        if (array)
            json_array_append_new(array, entries_json(entry));
        else
            entries_print(entry, entry->path, cli_flag(cli, "long"));
    }
    carrel_entry_list_done(&list);
    if (array)
        cli_print_json(array);
    return 0;
}
