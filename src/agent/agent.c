/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's main: one loop, one listening socket, the routes. */
#include "agent/agent.h"

#include <signal.h>
#include <unistd.h>

#include "agent/metrics.h"
#include "agent/process.h"
#include "agent/route.h"
#include "agent/upload_journal.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/loop.h"
#include "http/server.h"

enum {
    CONNECTIONS_MAX = 8192,
    EXIT_BAD_START = 70,
};

/* The server keeps connections to us open and reuses them; it closes first (protocol.md 1.5). */
static const struct http_server_options server_options = {
    .handler = agent_route,
    .idle_ns = 700 * CLOCK_S,
    .head_ns = 30 * CLOCK_S,
    .max_connections = CONNECTIONS_MAX,
};

static int serve(struct agent *agent, int listen_fd)
{
    struct http_server_options options = server_options;
    options.arg = agent;
    int rc = http_server_open(agent->loop, listen_fd, &options, &agent->server);
    if (rc < 0) {
        log_error("cannot serve", "error=%s", uv_strerror(rc));
        return EXIT_BAD_START;
    }
    /* Runs until the process is killed: the sandbox's end is the agent's. */
    uv_run(agent->loop, UV_RUN_DEFAULT);
    return 0;
}

int agent_main(const struct agent_start *start)
{
    uv_loop_t loop;
    struct agent agent = {.loop = &loop};
    struct err err;
    log_setup("agent", LOG_INFO);
    if (start->config_len &&
        agent_config_parse(start->config, start->config_len, &agent.config, &err) < 0) {
        log_error("bad configuration", "error=\"%s\"", err.message);
        return EXIT_BAD_START;
    }
    if (uv_loop_init(&loop) < 0)
        return EXIT_BAD_START;
    loop.data = NULL; /* of the http module */
    upload_journal_sweep();
    agent.processes = process_table_new(&loop);
    agent.metrics = metrics_new(start);
    return serve(&agent, start->listen_fd);
}
