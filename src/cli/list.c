/* SPDX-License-Identifier: Apache-2.0 */
/* carrel ls, info, template: what is there. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/entries.h"

static int64_t now_ms(void)
{
    return clock_wall_ns() / CLOCK_MS;
}

static json_t *as_json(const struct carrel_sandbox_info *info)
{
    char started[CLOCK_TEXT_SIZE], end[CLOCK_TEXT_SIZE];
    json_t *metadata = json_object();
    for (const struct carrel_pair *p = info->metadata; p->name; p++)
        json_object_set_new(metadata, p->name, json_string(p->value));
    clock_format(info->started_ms * CLOCK_MS, 3, started);
    clock_format(info->end_ms * CLOCK_MS, 3, end);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "sandboxID", info->id,
                     "name", info->name, "templateID", info->template_id, "state", info->state,
                     "startedAt", started, "endAt", end, "cpuCount", (json_int_t)info->cpu_count,
                     "memoryMB", (json_int_t)info->memory_mb, "diskSizeMB",
                     (json_int_t)info->disk_mb, "metadata", metadata);
}

static void print_row(const struct carrel_sandbox_info *info)
{
    char age[16], left[16];
    cli_short_time(now_ms() - info->started_ms, age);
    cli_short_time(info->end_ms - now_ms(), left);
    printf("%-20s  ", info->id);
    cli_print_text(stdout, info->name[0] ? info->name : "-");
    printf("%*s  %-20s  %-7s  %5s  %5s\n",
           (int)(strlen(info->name) < 12 ? 12 - (info->name[0] ? strlen(info->name) : 1) : 0), "",
           info->template_id, info->state, age, strcmp(info->state, "paused") == 0 ? "-" : left);
}

static int list_sandboxes(struct cli *cli)
{
    struct carrel_pair *metadata = NULL;
    struct carrel_sandbox_list list;
    int rc = cli_pairs(cli, "metadata", &metadata);
    if (rc == 0)
        rc = cli_client(cli);
    if (rc == 0) {
        const struct carrel_sandbox_filter filter = {.metadata = metadata,
                                                     .state = cli_value(cli, "state")};
        rc = carrel_sandbox_list(cli->client, &filter, &cli->call, &list, &cli->err);
    }
    cli_pairs_free(metadata);
    if (rc < 0)
        return rc;
    json_t *array = json_array();
    if (!cli_flag(cli, "json") && !cli_flag(cli, "quiet"))
        printf("%-20s  %-12s  %-20s  %-7s  %5s  %5s\n", "SANDBOX", "NAME", "TEMPLATE", "STATE",
               "AGE", "LEFT");
    for (size_t i = 0; i < list.count; i++) {
        if (cli_flag(cli, "json"))
            json_array_append_new(array, as_json(&list.items[i]));
        else if (cli_flag(cli, "quiet"))
            printf("%s\n", list.items[i].id);
        else
            print_row(&list.items[i]);
    }
    carrel_sandbox_list_done(&list);
    if (cli_flag(cli, "json"))
        cli_print_json(json_incref(array));
    json_decref(array);
    return 0;
}

static int list_path(struct cli *cli, const char *path, json_t *array, bool title)
{
    struct carrel_entry_list list;
    bool entries_long = cli_flag(cli, "long");
    int rc = carrel_file_list(cli->sandbox, path, 1, &cli->call, &list, &cli->err);
    if (rc == -CARREL_INVALID) /* no directory */
        rc = carrel_file_stat(cli->sandbox, path, &cli->call, &list, &cli->err);
    if (rc < 0)
        return rc;
    if (title && !array)
        printf("%s:\n", path);
    for (size_t i = 0; i < list.count; i++) {
        if (array)
            json_array_append_new(array, entries_json(&list.items[i]));
        else
            entries_print(&list.items[i], list.items[i].name, entries_long);
    }
    carrel_entry_list_done(&list);
    return 0;
}

static int list_files(struct cli *cli)
{
    json_t *array = cli_flag(cli, "json") ? json_array() : NULL;
    bool several = cli_operand(cli, 1) && cli_operand(cli, 2);
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc == 0 && !cli_operand(cli, 1))
        rc = list_path(cli, "", array, false);
    for (size_t i = 1; rc == 0 && cli_operand(cli, i); i++)
        rc = list_path(cli, cli_operand(cli, i), array, several);
    if (rc == 0 && array)
        cli_print_json(json_incref(array));
    json_decref(array);
    return rc;
}

int use_ls(struct cli *cli)
{
    return cli_operand(cli, 0) ? list_files(cli) : list_sandboxes(cli);
}

static void print_info(const struct carrel_sandbox_info *info, const struct carrel_metrics *used)
{
    char a[16], b[16];
    printf("id        %s\nname      ", info->id);
    cli_print_text(stdout, info->name[0] ? info->name : "-");
    printf("\ntemplate  %s\nstate     %s\n", info->template_id, info->state);
    printf("started   %s ago\n", cli_short_time(now_ms() - info->started_ms, a));
    if (strcmp(info->state, "running") == 0)
        printf("ends      in %s\n", cli_short_time(info->end_ms - now_ms(), a));
    printf("cpu       %.1f%% of %lld\n", used->cpu_percent, (long long)info->cpu_count);
    printf("memory    %s of %s\n", cli_short_size(used->memory_used, a),
           cli_short_size(info->memory_mb << 20, b));
    printf("disk      %s of %s\n", cli_short_size(used->disk_used, a),
           cli_short_size(info->disk_mb << 20, b));
    for (const struct carrel_pair *p = info->metadata; p->name; p++) {
        printf("metadata  ");
        cli_print_text(stdout, p->name);
        printf("=");
        cli_print_text(stdout, p->value);
        printf("\n");
    }
}

int use_info(struct cli *cli)
{
    struct carrel_sandbox_list list;
    struct carrel_metrics used = {0};
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc == 0)
        rc = carrel_sandbox_info(cli->sandbox, &cli->call, &list, &cli->err);
    if (rc < 0)
        return rc;
    rc = carrel_sandbox_metrics(cli->sandbox, &cli->call, &used, &cli->err);
    if (rc == 0 && cli_flag(cli, "json")) {
        json_t *json = as_json(&list.items[0]);
        json_object_set_new(json, "cpuUsedPct", json_real(used.cpu_percent));
        json_object_set_new(json, "memUsed", json_integer(used.memory_used));
        json_object_set_new(json, "diskUsed", json_integer(used.disk_used));
        cli_print_json(json);
    } else if (rc == 0) {
        print_info(&list.items[0], &used);
    }
    carrel_sandbox_list_done(&list);
    return rc;
}

/* ---- templates ---- */

static void print_template(const json_t *t)
{
    const char *built = json_string_value(json_object_get(t, "createdAt"));
    printf("%-24s  %4lld  %6lld MB  %-24s  %s\n",
           json_string_value(json_object_get(t, "templateID")),
           json_integer_value(json_object_get(t, "cpuCount")),
           json_integer_value(json_object_get(t, "memoryMB")), built ? built : "-",
           json_string_value(json_object_get(t, "buildStatus")));
}

int use_template(struct cli *cli)
{
    const char *action = cli_operand(cli, 0), *name = cli_operand(cli, 1);
    bool info = action && strcmp(action, "info") == 0;
    _cleanup_free_ char *text = NULL, *path = NULL;
    json_t *answer, *template;
    size_t i;
    if (action && !info && strcmp(action, "ls") != 0)
        return cli_wrong(cli, "\"%s\": ls or info?", action);
    if (info != (name != NULL))
        return cli_wrong(cli, info ? "which template?" : "ls takes no name");
    int rc = cli_client(cli);
    if (rc < 0)
        return rc;
    if (info && name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.")])
        return cli_wrong(cli, "\"%s\" is no name of a template", name);
    path = info ? xasprintf("/templates/%s", name) : xstrdup("/templates");
    rc = carrel_client_request(cli->client, "GET", path, NULL, &cli->call, &text, &cli->err);
    if (rc < 0)
        return rc;
    answer = json_loads(text, 0, NULL);
    if (cli_flag(cli, "json")) {
        cli_print_json(answer);
        return 0;
    }
    printf("%-24s  %4s  %9s  %-24s  %s\n", "TEMPLATE", "CPUS", "MEMORY", "BUILT", "STATE");
    if (info)
        print_template(answer);
    json_array_foreach (answer, i, template)
        print_template(template);
    json_decref(answer);
    return 0;
}
