/* SPDX-License-Identifier: Apache-2.0 */
/* How a tar stream gets into a sandbox and out of it. */
#pragma once

#include "client/client-internal.h"

/* Unpacks what the source gives into the directory `to`. */
int tree_link_send(struct carrel_sandbox *sandbox, const char *to, carrel_source_fn *source,
                   void *arg, const struct carrel_call *call, struct carrel_error *err);
/* Gives the directory `from`, packed, to the sink. */
int tree_link_receive(struct carrel_sandbox *sandbox, const char *from, carrel_sink_fn *sink,
                      void *arg, const struct carrel_call *call, struct carrel_error *err);
