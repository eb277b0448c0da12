/* SPDX-License-Identifier: Apache-2.0 */
/* GET /health: the agent serves. */
#include "agent/handlers.h"

void handle_health_get(struct agent *agent, struct http_exchange *x)
{
    http_respond_header(x, "Cache-Control", "no-store");
    http_respond(x, 204, NULL, STR(""));
}
