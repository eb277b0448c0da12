/* SPDX-License-Identifier: Apache-2.0 */
/* What those who run the server look at, on a listener of its own (--metrics) that asks for no key:
 * /metrics for Prometheus, /health, /ready. */
#pragma once

#include "base/err.h"

struct server;

/* Opens server->metrics if the configuration wants it. 0 or -errno. */
int observe_open(struct server *server, struct err *err);
void observe_close(struct server *server);
/* Why no sandbox can be made at the moment, or NULL. */
const char *observe_not_ready(const struct server *server);
