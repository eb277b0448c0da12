/* SPDX-License-Identifier: Apache-2.0 */
/* The three kinds of calls: the control API's, a sandbox's RPCs with one answer, and those with a
 * stream of answers. */
#pragma once

#include <jansson.h>

#include "base/str.h"
#include "client/exchange.h"

/* A request to the control API, body a JSON text or NULL. *ret_answer is to be emptied with buf_done
 * in any case. */
int call_control(struct carrel_client *client, const char *method, const char *path,
                 const char *body, const struct carrel_call *call, struct buf *ret_answer,
                 struct carrel_error *err);
/* The same with JSON both ways; takes over the body. ret may be NULL. */
int call_control_json(struct carrel_client *client, const char *method, const char *path,
                      json_t *body, const struct carrel_call *call, json_t **ret,
                      struct carrel_error *err);
/* An RPC of the agent such as "filesystem.Filesystem/Stat"; takes over the message. ret may be NULL. */
int call_agent(struct carrel_sandbox *sandbox, const char *rpc, json_t *message,
               const struct carrel_call *call, json_t **ret, struct carrel_error *err);
/* A JSON object as a text of the client's, or CARREL_INVALID: what was put into it is not UTF-8. Takes
 * over the object. */
int call_text(json_t *message, char **ret, struct carrel_error *err);
/* JSON that the other side sent. */
int call_parse(struct str text, json_t **ret, struct carrel_error *err);

/* After a connection to a sandbox broke: says CARREL_GONE instead if the sandbox is. */
int call_explain_cut(struct carrel_sandbox *sandbox, int rc, struct carrel_error *err);

/* ---- streams ---- */

struct call_stream;

/* Sends off an RPC of the agent that answers with a stream; takes over the message. limit_ms is the
 * stream's time limit, 0: none. Nothing is known of its success until the first message. */
int call_stream_open(struct carrel_sandbox *sandbox, const char *rpc, json_t *message,
                     int64_t limit_ms, const struct carrel_call *call, struct call_stream **ret,
                     struct carrel_error *err);
/* The next message: 1 and a view that is valid until the next call; 0 at the stream's orderly end; or
 * an error: -CARREL_TIMEOUT at deadline_ns (0: never; the stream is as good as before if
 * call_stream_over is false), -CARREL_CUT if it broke, or the server's. */
int call_stream_next(struct call_stream *stream, int64_t deadline_ns, struct str *ret,
                     struct carrel_error *err);
/* Whether no message can come any more. */
bool call_stream_over(const struct call_stream *stream);
void call_stream_free(struct call_stream *stream);
