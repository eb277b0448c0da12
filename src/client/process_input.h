/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to a process, by its pid; see carrel_process_write and its like. */
#pragma once

#include "client/client-internal.h"

int process_input_write(struct carrel_sandbox *sandbox, unsigned pid, bool terminal, const void *p,
                        size_t n, const struct carrel_call *call, struct carrel_error *err);
int process_input_close(struct carrel_sandbox *sandbox, unsigned pid,
                        const struct carrel_call *call, struct carrel_error *err);
int process_input_resize(struct carrel_sandbox *sandbox, unsigned pid, unsigned columns,
                         unsigned rows, const struct carrel_call *call, struct carrel_error *err);
