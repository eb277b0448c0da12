/* SPDX-License-Identifier: Apache-2.0 */
/* A `carrel serve` of the selftest's own: this program once more, with directories that nobody else
 * uses and a port that the kernel chooses. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

struct selftest_server {
    pid_t pid;
    char dir[64]; /* state and run are in it */
    char url[128];
    char key[80];
};

struct selftest_server_options {
    const char *templates_dir;
    const char *weaken; /* for tests of the selftest itself; NULL: nothing */
    unsigned memory_mb, pids, disk_mb;
    const char *cpus;
};

/* Starts it and waits until it serves. */
int selftest_server_start(const struct selftest_server_options *options,
                          struct selftest_server *ret, struct err *err);
/* Asks it to end and waits; removes its directory. Its exit status, or negative with err. */
int selftest_server_stop(struct selftest_server *server, struct err *err);
