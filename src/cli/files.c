/* SPDX-License-Identifier: Apache-2.0 */
/* carrel cat, write, rm, mv, mkdir: files in a sandbox. */
#include <unistd.h>

#include "cli/cli.h"

/* One action for each operand behind the sandbox. */
static int each_path(struct cli *cli, int (*act)(struct cli *cli, const char *path))
{
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    for (size_t i = 1; rc == 0 && cli_operand(cli, i); i++)
        rc = act(cli, cli_operand(cli, i));
    return rc;
}

static int cat(struct cli *cli, const char *path)
{
    return carrel_file_read_fd(cli->sandbox, path, STDOUT_FILENO, &cli->call, &cli->err);
}

static int rm(struct cli *cli, const char *path)
{
    /* The wire takes the removal of nothing for a success; at a command line it is a typing error. */
    int rc = carrel_file_exists(cli->sandbox, path, &cli->call, &cli->err);
    if (rc == 0) {
        cli_wrong(cli, "there is no %s", path);
        cli->err.code = CARREL_NOT_FOUND;
        return -CARREL_NOT_FOUND;
    }
    return rc < 0 ? rc : carrel_file_remove(cli->sandbox, path, &cli->call, &cli->err);
}

static int mkdir_one(struct cli *cli, const char *path)
{
    return carrel_file_make_dir(cli->sandbox, path, &cli->call, &cli->err);
}

int use_cat(struct cli *cli)
{
    return each_path(cli, cat);
}

int use_rm(struct cli *cli)
{
    return each_path(cli, rm);
}

int use_mkdir(struct cli *cli)
{
    return each_path(cli, mkdir_one);
}

int use_write(struct cli *cli)
{
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc < 0)
        return rc;
    return carrel_file_write_fd(cli->sandbox, cli_operand(cli, 1), STDIN_FILENO, &cli->call,
                                &cli->err);
}

int use_mv(struct cli *cli)
{
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc < 0)
        return rc;
    return carrel_file_move(cli->sandbox, cli_operand(cli, 1), cli_operand(cli, 2), &cli->call,
                            &cli->err);
}
