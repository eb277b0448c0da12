/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for sandboxes: found, checked, woken if need be, and relayed (protocol.md 7). Bodies pass
 * through in both directions with back-pressure and are never collected. */
#pragma once

#include "http/server.h"
#include "server/route.h"

struct sandbox;
struct server;

/* Takes over an exchange whose route is not ROUTE_API. */
void proxy_handle(struct server *server, struct http_exchange *x, const struct route *route);
/* Cuts all that runs to a sandbox which ends or pauses: what has begun to be answered breaks off
 * without an end, the rest is told that the sandbox is not there. */
void proxy_cut_all(struct sandbox *sandbox);
/* Cuts exchanges over which nothing went for long. Called now and then. */
void proxy_sweep(struct server *server);
