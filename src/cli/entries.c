/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a sandbox's file system, printed. */
#include "cli/entries.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "cli/cli.h"

void entries_print(const struct carrel_entry *entry, const char *called, bool full)
{
    if (full) {
        char when[32];
        time_t seconds = (time_t)(entry->modified_ms / 1000);
        struct tm tm;
        localtime_r(&seconds, &tm);
        strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
        printf("%-11s  %-8s  %-8s  %10lld  %s  ", entry->permissions, entry->owner, entry->group,
               (long long)entry->size, when);
    }
    cli_print_text(stdout, called);
    if (entry->type == CARREL_FILE_DIRECTORY && !entry->link)
        putchar('/');
    if (full && entry->link) {
        printf(" -> ");
        cli_print_text(stdout, entry->link);
    }
    putchar('\n');
}

json_t *entries_json(const struct carrel_entry *entry)
{
    static const char *const types[] = {"other", "file", "dir"};
    char modified[CLOCK_TEXT_SIZE];
    clock_format(entry->modified_ms * CLOCK_MS, 3, modified);
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:I, s:i, s:s, s:s, s:s, s:s}", "name", entry->name, "path",
                  entry->path, "type", types[entry->type], "size", (json_int_t)entry->size, "mode",
                  (int)entry->mode, "permissions", entry->permissions, "owner", entry->owner,
                  "group", entry->group, "modified", modified);
    if (entry->link)
        json_object_set_new(json, "link", json_string(entry->link));
    return json;
}
