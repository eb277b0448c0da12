/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox as text: the store's record, the API's objects, the agent's first configuration. */
#pragma once

#include <jansson.h>

#include "server/sandbox.h"
#include "server/store.h"

struct config;

/* Writes or updates the sandbox's row. 0 or -errno. */
int sandbox_record_save(const struct sandbox *sandbox, struct err *err);
/* A sandbox from its row; NULL with err when the row makes no sense. */
struct sandbox *sandbox_record_load(struct server *server, const struct store_sandbox *row,
                                    struct err *err);
/* The same of a row whose record makes no sense: what the columns say, the limits of the template, and a
 * token that its owner learns by connecting. NULL when there is not even an id. */
struct sandbox *sandbox_record_rescue(struct server *server, const struct store_sandbox *row);
/* It is of that template, and of no snapshot. */
void sandbox_record_set_template(struct sandbox *sandbox, const char *name);
/* Takes over network (reference stolen, NULL allowed) and what follows from it. */
void sandbox_record_set_network(struct sandbox *sandbox, json_t *network);

/* API objects of protocol.md 2.2; the caller owns them. */
json_t *sandbox_record_created(const struct sandbox *sandbox); /* Sandbox */
json_t *sandbox_record_listed(const struct sandbox *sandbox);  /* ListedSandbox */
json_t *sandbox_record_detail(const struct sandbox *sandbox);  /* SandboxDetail */

/* Limits of a sandbox of that template on this server. */
struct launcher_limits sandbox_record_limits(const struct config *config,
                                             const struct template *template);
/* The agent's configuration (agent/config.h), with the variables in the order of protocol.md 5.2;
 * env_vars are create's, or NULL. JSON text to be freed. */
char *sandbox_record_agent_config(const struct sandbox *sandbox, const struct template *template,
                                  json_t *env_vars);
