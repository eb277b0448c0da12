/* SPDX-License-Identifier: Apache-2.0 */
/* The service's HTTP routes (protocol.md 6.1). */
#pragma once

#include "http/server.h"

/* arg: struct contexts */
void routes_handle(struct http_exchange *x, void *arg);
