/* SPDX-License-Identifier: Apache-2.0 */
/* A process in a sandbox connected to this terminal, or to what stands for it: input, output, size and
 * signals, each in both directions where it has two. */
#pragma once

#include "cli/cli.h"

struct session {
    struct cli *cli;
    struct carrel_process *process;
    bool input;        /* pass standard input on */
    bool terminal;     /* the process has one: ours becomes raw */
    bool break_leaves; /* Ctrl-C leaves the process instead of reaching it */
};

/* Until the process ends or is left. The exit status to give back (128 and the number for a signal), or
 * an error. */
int session_run(struct session *session);

/* Size of this terminal; 80x24 if there is none. */
void session_size(unsigned *ret_columns, unsigned *ret_rows);
