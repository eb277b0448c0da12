/* SPDX-License-Identifier: Apache-2.0 */
/* POST /init: the server replaces the agent's configuration. Internal; the server's proxy does not
 * pass it on, and nobody inside the sandbox can reach the agent's socket. */
#include "agent/handlers.h"

#include <errno.h>

#include "agent/keep.h"
#include "agent/process.h"
#include "agent/services.h"

enum { CONFIG_MAX = ARENA_CONFIG_MAX };

static void body_done(struct http_exchange *x, int status, struct str body, void *arg)
{
    struct agent *agent = arg;
    struct err err;
    if (status == -EMSGSIZE) {
        http_respond_error(x, 413, "the configuration is longer than %d bytes", CONFIG_MAX);
    } else if (status < 0) {
        http_respond_error(x, 400, "the request body is cut");
    } else if (agent_config_parse(body.p, body.len, &agent->config, &err) < 0) {
        http_respond_error(x, err_http_status(err.code), "%s", err.message);
    } else {
        /* The agent that comes after us goes on with it. It is not too long, see CONFIG_MAX. */
        arena_config_save(keep_arena(agent->keep), body);
        process_table_configure(agent->processes, &agent->config);
        services_configure(agent->services);
        http_respond(x, 204, NULL, STR(""));
    }
}

void handle_init_post(struct agent *agent, struct http_exchange *x)
{
    http_body_collect(x, CONFIG_MAX, body_done, agent);
}
