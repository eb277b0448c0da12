/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's main: one loop, one listening socket, the routes. */
#include "agent/agent.h"

#include <errno.h>

#include "agent/keep.h"
#include "agent/metrics.h"
#include "agent/process.h"
#include "agent/route.h"
#include "agent/services.h"
#include "agent/spawn.h"
#include "agent/upload_journal.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/loop.h"
#include "http/server.h"

enum {
    CONNECTIONS_MAX = 8192,
    COLLECTED_MAX = 64 << 20, /* bytes of requests that have not come whole yet */
    EXIT_BAD_START = 70,
};

/* The server keeps connections to us open and reuses them; it closes first (protocol.md 1.5). */
static const struct http_server_options server_options = {
    .handler = agent_route,
    .idle_ns = 700 * CLOCK_S,
    .head_ns = 30 * CLOCK_S,
    .max_connections = CONNECTIONS_MAX,
    .max_collected = COLLECTED_MAX,
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

/* The one that an agent before us was given last, else the first. */
static int configure(struct agent *agent, const struct agent_start *start)
{
    struct str text = arena_config(keep_arena(agent->keep));
    struct err err;
    if (!text.p)
        text = (struct str){start->config, start->config_len};
    if (text.len == 0 || agent_config_parse(text.p, text.len, &agent->config, &err) == 0)
        return 0;
    log_error("bad configuration", "error=\"%s\"", err.message);
    return -EINVAL;
}

int agent_main(const struct agent_start *start)
{
    uv_loop_t loop;
    struct agent agent = {.loop = &loop};
    log_setup("agent", LOG_INFO);
    agent.keep = start->keep ? start->keep : keep_new_alone();
    if (!agent.keep || configure(&agent, start) < 0 || uv_loop_init(&loop) < 0)
        return EXIT_BAD_START;
    loop.data = NULL; /* of the http module */
    upload_journal_sweep();
    spawn_set_group(start);
    agent.processes =
        process_table_new(&loop, agent.keep, start->spool_dir, start->memory_fd, start->oom_fd);
    process_table_configure(agent.processes, &agent.config);
    agent.metrics = metrics_new(start);
    agent.services = services_start(&loop, &agent.config, start->oom_fd);
    return serve(&agent, start->listen_fd);
}
