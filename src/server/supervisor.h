/* SPDX-License-Identifier: Apache-2.0 */
/* The process that `carrel serve` is: root, tiny, parses nothing from outside. It binds the sockets,
 * starts launcher, egress relay and server, starts each again when it dies, and takes all down in
 * order. The sockets are its own, so that nobody's death refuses a connection. */
#pragma once

#include <sys/types.h>

#include "server/config.h"

struct supervisor_launcher {
    const struct config *config;
    int listen_fd; /* SEQPACKET, bound to <run>/launcher.sock */
    uid_t uid;     /* of the server, who alone may connect */
    gid_t gid;
    const char *egress_path; /* where the relay is reached */
    uid_t egress_uid;
};

/* The launcher's main, in its own process; the result is the exit status. */
typedef int supervisor_launcher_fn(const struct supervisor_launcher *start);

/* The relay's main, in its own process, as its own user, given the listening SEQPACKET socket. */
typedef int supervisor_egress_fn(const struct config *config, int listen_fd);

/* Runs until SIGTERM, SIGINT or SIGHUP, or until another takes over (handover.h). SIGUSR2 executes the
 * program anew, in this process, with the sockets it has: after an upgrade of its file. The result is
 * the exit status. */
int supervisor_main(const struct config *config, supervisor_launcher_fn *launcher,
                    supervisor_egress_fn *egress);
