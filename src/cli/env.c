/* SPDX-License-Identifier: Apache-2.0 */
/* `carrel env`: what a running server printed at its start, once more. Its output is meant for a
 * shell's eval, so nothing but well-formed values leaves it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "cli/command.h"
#include "server/config.h"
#include "server/key.h"
#include "server/server.h"

static bool url_valid(const char *url)
{
    return strncmp(url, "http://", 7) == 0 &&
           url[strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789.:/[]-")] == '\0';
}

static int print_env(const struct config *config, struct err *err)
{
    char key[KEY_SIZE];
    size_t len;
    _cleanup_free_ char *dir = server_state_dir(config);
    _cleanup_free_ char *path = path_join(config->run, "url"), *url = NULL;
    int rc = fd_read_file(AT_FDCWD, path, 4096, &url, &len);
    if (rc == -ENOENT)
        return err_set(err, ERR_NOT_FOUND, 0, "no server runs on %s (there is no %s)", config->run,
                       path);
    if (rc < 0)
        return err_os(err, -rc, "read %s", path);
    url[strcspn(url, "\n")] = '\0';
    if (!url_valid(url))
        return err_set(err, ERR_INVALID, 0, "%s does not hold a URL", path);
    if ((rc = key_read_first(dir, key, err)) < 0)
        return rc;
    server_print_exports(stdout, key, url);
    return 0;
}

int command_env(int argc, char **argv)
{
    struct config config = {0};
    struct err err;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        printf(
            "usage: eval \"$(carrel env [--state DIR] [--run DIR])\"\n\nPrints the variables for "
            "the SDKs, with the first key. If that one has been revoked,\nuse one that `carrel "
            "key create` printed.\n");
        return 0;
    }
    int rc = config_load(&config, argc - 1, argv + 1, &err);
    if (rc == 0)
        rc = print_env(&config, &err);
    config_done(&config);
    if (rc == 0)
        return 0;
    fprintf(stderr, "carrel env: %s\n", err.message);
    return err_exit_status(err.code);
}
