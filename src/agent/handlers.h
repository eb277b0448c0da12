/* SPDX-License-Identifier: Apache-2.0 */
/* Every request handler of the agent, by file. route.c lists them with method and path. A new
 * handler takes one line here and one there. */
#pragma once

#include "agent/route.h"

/* health.c, env.c, metrics.c, init_route.c, tunnel.c */
agent_handler_fn handle_health_get;
agent_handler_fn handle_envs_get;
agent_handler_fn handle_metrics_get;
agent_handler_fn handle_init_post;
agent_handler_fn handle_tunnel_connect;

/* process_rpc.c */
rpc_unary_fn rpc_process_list;
rpc_unary_fn rpc_process_update;
rpc_unary_fn rpc_process_send_signal;
rpc_unary_fn rpc_process_close_stdin;
rpc_async_fn rpc_process_send_input;
rpc_server_stream_fn rpc_process_start;
rpc_server_stream_fn rpc_process_connect;
rpc_client_stream_fn rpc_process_stream_input;
