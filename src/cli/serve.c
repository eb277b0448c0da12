/* SPDX-License-Identifier: Apache-2.0 */
/* `carrel serve`: brings supervisor, server, launcher and egress relay together. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "box/weaken.h"
#include "cli/command.h"
#include "egress/egress.h"
#include "launcher/launcher.h"
#include "server/config.h"
#include "server/supervisor.h"

/* The words of the option, which has been checked. */
static enum box_disk disk_backend(const char *word)
{
    static const char *const words[] = {[BOX_DISK_AUTO] = "auto",
                                        [BOX_DISK_QUOTA] = "quota",
                                        [BOX_DISK_IMAGE] = "image",
                                        [BOX_DISK_GUARD] = "guard",
                                        [BOX_DISK_NONE] = "none"};
    size_t i = 0;
    while (i + 1 < ARRAY_SIZE(words) && strcmp(words[i], word) != 0)
        i++;
    return (enum box_disk)i;
}

static int run_launcher(const struct supervisor_launcher *start)
{
    const struct config *config = start->config;
    struct launcher_options options = {
        .state_dir = config->state,
        .run_dir = config->run,
        .templates_dir = config->templates,
        .instance = -1,
        .listen_fd = start->listen_fd,
        .ready_fd = -1,
        .server_uid = start->uid,
        .server_gid = start->gid,
        .ca_bundle = config->ca_bundle,
        .disk = disk_backend(config->disk_backend),
        .disk_image_bytes = config->disk_image_mb << 20,
        .net_pool = config->net_pool,
        .egress_path = start->egress_path,
        .egress_uid = start->egress_uid,
    };
    if (config->weaken)
        box_weaken_parse(config->weaken, &options.weaken, NULL);
    for (size_t i = 0; i < config->dns_count; i++)
        if (inet_pton(AF_INET, config->dns[i], &options.dns[i]) == 1)
            options.dns_count++;
    for (size_t i = 0; i < config->opened_count; i++) {
        struct net_range *range = &options.opened[options.opened_count];
        if (config_parse_range(config->opened[i], &range->address, &range->prefix) == 0)
            options.opened_count++;
    }
    log_setup("launcher", config->log_level);
    return launcher_main(&options);
}

static int run_egress(const struct config *config, int listen_fd)
{
    const struct egress_start start = {.listen_fd = listen_fd};
    log_setup("egress", config->log_level);
    return egress_main(&start);
}

/* An option that is not for users must not be had by accident, or through a configuration file. */
static int check_weaken(const struct config *config, struct err *err)
{
    const char *allowed = getenv("CARREL_ALLOW_WEAKEN");
    unsigned weaken;
    if (!config->weaken)
        return 0;
    if (!allowed || strcmp(allowed, "1") != 0)
        return err_set(err, ERR_DENIED, 0, "--weaken is for tests of carrel itself");
    return box_weaken_parse(config->weaken, &weaken, err);
}

int command_serve(int argc, char **argv)
{
    struct config config = {0};
    struct err err;
    int status;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        printf(
            "usage: carrel serve [options]\n\nServes the API and the traffic of sandboxes on one "
            "address. The first start makes a\nkey; every start prints the variables that the "
            "SDKs need. A stop (SIGTERM) leaves\nsandboxes running for the next start, unless "
            "--ephemeral is given.\n\n");
        config_print_help(stdout);
        return 0;
    }
    if (config_load(&config, argc - 1, argv + 1, &err) < 0 || check_weaken(&config, &err) < 0) {
        fprintf(stderr, "carrel serve: %s\n", err.message);
        status = err_exit_status(err.code);
    } else {
        status = supervisor_main(&config, run_launcher, run_egress);
    }
    config_done(&config);
    return status;
}
