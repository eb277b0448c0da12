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
rpc_server_stream_fn rpc_process_start;
rpc_server_stream_fn rpc_process_connect;

/* process_input_rpc.c */
rpc_async_fn rpc_process_send_input;
rpc_client_stream_fn rpc_process_stream_input;

/* files_get.c, files_post.c, compose.c, tar_get.c, tar_post.c */
agent_handler_fn handle_files_get;
agent_handler_fn handle_files_post;
agent_handler_fn handle_compose_post;
agent_handler_fn handle_tar_get;
agent_handler_fn handle_tar_post;

/* filesystem_rpc.c, list_rpc.c, watch_rpc.c */
rpc_async_fn rpc_filesystem_stat;
rpc_async_fn rpc_filesystem_make_dir;
rpc_async_fn rpc_filesystem_move;
rpc_async_fn rpc_filesystem_remove;
rpc_async_fn rpc_filesystem_list_dir;
rpc_async_fn rpc_filesystem_create_watcher;
rpc_async_fn rpc_filesystem_get_watcher_events;
rpc_async_fn rpc_filesystem_remove_watcher;
rpc_server_stream_fn rpc_filesystem_watch_dir;
