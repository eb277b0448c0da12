/* SPDX-License-Identifier: Apache-2.0 */
/* What clients of sandboxes read when there is no sandbox to answer (protocol.md 7.3): JSON for
 * programs, a page for people in browsers, each with the headers that let scripts of any origin
 * see them. */
#pragma once

#include "http/server.h"

/* "The sandbox was not found", 502: also for one that has ended or sleeps. */
void proxy_reply_not_found(struct http_exchange *x, const char *id);
/* "The sandbox is running but port is not open", 502. */
void proxy_reply_closed_port(struct http_exchange *x, const char *id, int port);
/* Any other; message is plain ASCII without quotes. */
void proxy_reply(struct http_exchange *x, int status, const char *id, const char *message);
/* One of the agent's internal routes. */
void proxy_reply_hidden(struct http_exchange *x);
/* The agent's own shape of errors, without the id. */
void proxy_reply_error(struct http_exchange *x, int status, const char *message);
void proxy_reply_text(struct http_exchange *x, int status, const char *text);
/* A browser's question whether it may ask (CORS). */
void proxy_reply_preflight(struct http_exchange *x);
/* Whether the request is such a question. */
bool proxy_is_preflight(const struct http_request *request);
/* Adds the CORS fields of the agent's port. */
void proxy_add_cors(struct http_exchange *x);
