/* SPDX-License-Identifier: Apache-2.0 */
/* The server process alone, without supervisor, launcher or root: what test_*.py talk to.
 *
 *   server_driver LISTEN_FD [options of `carrel serve`]...
 *
 * LISTEN_FD is an inherited listening socket. The launcher's socket is expected at
 * <run>/launcher.sock, and <state>/server must exist. */
#include <stdio.h>

#include "base/str.h"
#include "server/server.h"

int main(int argc, char **argv)
{
    struct config config = {0};
    struct err err;
    uint64_t fd;
    int status;
    if (argc < 2 || str_to_u64(str_from(argv[1]), 1023, &fd) < 0) {
        fprintf(stderr, "usage: server_driver LISTEN_FD [option]...\n");
        return 2;
    }
    if (config_load(&config, argc - 2, argv + 2, &err) < 0) {
        fprintf(stderr, "server_driver: %s\n", err.message);
        status = err_exit_status(err.code);
    } else {
        struct server_start start = {.listen_fd = (int)fd, .ready_fd = -1, .announce = true};
        status = server_main(&config, &start);
    }
    config_done(&config);
    return status;
}
