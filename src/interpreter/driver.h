/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that are a driver of ours over a language's own interpreter (node, bash, jshell).
 *
 * The driver's process has our two output pipes as standard output and error, and a stream socket as
 * descriptor 3. It reads one JSON line an execution:
 *     {"code":"…","before":{"NAME":"text"|null},"after":{…}}
 * and writes one JSON line an event:
 *     {"event":"ready"}
 *     {"event":"stdout"|"stderr","text":"…"}     where the order or the cut of output matters
 *     {"event":"result","bundle":{MIME:value},"main":true|false}
 *     {"event":"error","name":"…","value":"…","traceback":"…"}
 *     {"event":"status","status":number}         an exit status; other than 0 it is an error
 *     {"event":"done"}
 * SIGINT interrupts it, the end of the socket ends it. */
#pragma once

#include "interpreter/kernel.h"

/* argv[0] is a path; argv is borrowed until the call returns. */
struct kernel *driver_open(const struct kernel_options *options, char *const *argv,
                           struct err *err);

/* bash needs no driver between: an interactive one, which a SIGINT brings back to its next line,
 * reads its commands from the socket, and those that we add report to descriptor 3. */
struct kernel *driver_bash_open(const struct kernel_options *options, struct err *err);
