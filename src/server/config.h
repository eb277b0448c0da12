/* SPDX-License-Identifier: Apache-2.0 */
/* What `carrel serve` can be told, by options and by a configuration file with the same names.
 * One table describes all of it; the help text is made from it too. Command line beats file. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"

enum {
    CONFIG_DNS_MAX = 3,
    CONFIG_OPTIONS_MAX = 48,
    CONFIG_DEFAULT_UID = 64991, /* the server's user when --user is not given and no user
                                   "carrel" exists; outside every range distributions hand out */
    CONFIG_EGRESS_UID = 64992,  /* the egress relay's: of no other process on the host */
    CONFIG_OPENED_MAX = 16,
};

struct config {
    char *listen;    /* ADDR:PORT */
    char *weaken;    /* names of box/weaken.h, for tests */
    char *state;     /* directory */
    char *run;       /* directory */
    char *templates; /* directory */
    char *file;      /* --config, or NULL */
    char *ca_bundle; /* file, "none", or NULL: the host's if there is one */
    char *dns[CONFIG_DNS_MAX];
    size_t dns_count;                /* 0: the host's resolvers */
    char *opened[CONFIG_OPENED_MAX]; /* ADDR/LENGTH, each valid */
    size_t opened_count;
    char *domain; /* what sandbox host names end in, NULL: sbx.localhost and the port */
    char *tls_certificate, *tls_key; /* PEM files, both or neither: TLS on the listener too */
    char *user;   /* the server's user, name or number; NULL: see CONFIG_DEFAULT_UID */
    uint64_t memory_mb;
    uint64_t cpu_millis; /* thousandths of a CPU */
    uint64_t pids;
    uint64_t disk_mb;
    char *disk_backend;     /* one of the words of its option */
    uint64_t disk_image_mb; /* 0: what is free */
    char *pool;             /* "NAME=COUNT,…": sandboxes kept waiting, pool.h */
    uint64_t net_pool;      /* networks and directories kept ready for the next sandboxes */
    uint64_t max_sandboxes;
    uint64_t project_sandboxes; /* 0: no limit */
    uint64_t keep_memory_mb;    /* admission.h */
    uint64_t keep_disk_mb;
    uint64_t rate; /* requests a second, 0: no limit */
    char *metrics; /* ADDR:PORT or NULL */
    uint64_t max_timeout;  /* seconds */
    uint64_t keep_ended;   /* seconds */
    uint64_t stop_timeout; /* seconds */
    enum log_level log_level;
    bool replace;   /* takes the place of one that serves from the same run directory */
    bool ephemeral; /* a stop kills the sandboxes and takes the host's rules away */

    unsigned char set_by[CONFIG_OPTIONS_MAX]; /* who set option i last: private to config.c */
};

/* Fills *config (zeroed by the caller) with defaults, then the file that --config names, then the
 * options. `config_done` is due in any case. 0, or a negative errno with err naming the option, or
 * file and line. Relative paths become absolute. */
int config_load(struct config *config, int argc, char **argv, struct err *err);
void config_done(struct config *config);

/* One line an option, for `carrel serve --help`. */
void config_print_help(FILE *out);

/* "10.1.0.0/16": address in host byte order, no bits beyond the prefix. 0 or -EINVAL. */
int config_parse_range(const char *text, uint32_t *ret_address, unsigned *ret_prefix);

/* Splits "ADDR:PORT", "[ADDR]:PORT" or ":PORT" into its parts. 0 or -EINVAL. */
int config_split_listen(const char *text, char host[256], char port[8], struct err *err);
