/* SPDX-License-Identifier: Apache-2.0 */
/* carrel create, kill, timeout, pause, resume, url: a sandbox's life. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"

enum { LIFE_S = 300 };

/* --metadata, and --name as one of it. */
static int take_metadata(struct cli *cli, struct carrel_pair **ret)
{
    struct carrel_pair *pairs;
    size_t n = 0;
    int rc = cli_pairs(cli, "metadata", &pairs);
    if (rc < 0 || !cli_value(cli, "name")) {
        if (rc == 0)
            *ret = pairs;
        return rc;
    }
    while (pairs[n].name)
        n++;
    pairs = xrealloc(pairs, (n + 2) * sizeof *pairs);
    pairs[n] = (struct carrel_pair){xstrdup("name"), cli_value(cli, "name")};
    pairs[n + 1] = (struct carrel_pair){NULL, NULL};
    *ret = pairs;
    return 0;
}

static int create(struct cli *cli, const struct carrel_pair *metadata,
                  const struct carrel_pair *envs)
{
    struct carrel_sandbox_options options = {
        .template_name = cli_value(cli, "template"),
        .timeout_s = LIFE_S,
        .metadata = metadata,
        .envs = envs,
        .no_internet = cli_flag(cli, "no-internet"),
        .pause_at_end = cli_flag(cli, "pause-at-end"),
        .wake_on_traffic = cli_flag(cli, "wake-on-traffic"),
    };
    const char *life = cli_value(cli, "timeout");
    if (life && (cli_parse_seconds(life, &options.timeout_s) < 0 || options.timeout_s == 0))
        return cli_wrong(cli, "--timeout: \"%s\" is no time such as 90, 15m or 2h", life);
    int rc = cli_client(cli);
    if (rc == 0)
        rc = carrel_sandbox_create(cli->client, &options, &cli->call, &cli->sandbox, &cli->err);
    if (rc == 0 && cli_flag(cli, "json"))
        cli_print_json(json_pack("{s:s}", "sandboxID", carrel_sandbox_id(cli->sandbox)));
    else if (rc == 0)
        printf("%s\n", carrel_sandbox_id(cli->sandbox));
    return rc;
}

int use_create(struct cli *cli)
{
    struct carrel_pair *metadata = NULL, *envs = NULL;
    int rc = take_metadata(cli, &metadata);
    if (rc == 0)
        rc = cli_pairs(cli, "env", &envs);
    if (rc == 0)
        rc = create(cli, metadata, envs);
    cli_pairs_free(metadata);
    cli_pairs_free(envs);
    return rc;
}

/* One action on each of the sandboxes named; the first failure ends it. */
static int each(struct cli *cli, int (*act)(struct cli *cli))
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && cli_operand(cli, i); i++) {
        rc = cli_sandbox(cli, cli_operand(cli, i));
        if (rc == 0)
            rc = act(cli);
    }
    return rc;
}

static int kill_it(struct cli *cli)
{
    return carrel_sandbox_kill(cli->sandbox, &cli->call, &cli->err);
}

static int pause_it(struct cli *cli)
{
    return carrel_sandbox_pause(cli->sandbox, &cli->call, &cli->err);
}

static int resume_it(struct cli *cli)
{
    return carrel_sandbox_resume(cli->sandbox, 0, &cli->call, &cli->err);
}

int use_kill(struct cli *cli)
{
    return each(cli, kill_it);
}

int use_pause(struct cli *cli)
{
    return each(cli, pause_it);
}

int use_resume(struct cli *cli)
{
    return each(cli, resume_it);
}

int use_timeout(struct cli *cli)
{
    int64_t seconds;
    if (cli_parse_seconds(cli_operand(cli, 1), &seconds) < 0)
        return cli_wrong(cli, "\"%s\" is no time such as 90, 15m or 2h", cli_operand(cli, 1));
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    return rc < 0 ? rc : carrel_sandbox_set_timeout(cli->sandbox, seconds, &cli->call, &cli->err);
}

int use_url(struct cli *cli)
{
    uint64_t port;
    if (str_to_u64(str_from(cli_operand(cli, 1)), 65535, &port) < 0 || port == 0)
        return cli_wrong(cli, "\"%s\" is no port", cli_operand(cli, 1));
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc < 0)
        return rc;
    _cleanup_free_ char *url = carrel_sandbox_url(cli->sandbox, (unsigned)port);
    printf("%s\n", url);
    return 0;
}
