/* SPDX-License-Identifier: Apache-2.0 */
/* The control API (protocol.md 2): one table of routes, keys checked, JSON bodies read, before a
 * handler runs. Handlers answer at once or wait for a sandbox; a request whose client goes away
 * stops waiting by itself. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "http/server.h"
#include "server/key.h"
#include "server/sandbox.h"
#include "server/turn.h"

enum {
    API_PARAMS_MAX = 3,
    API_BODY_MAX = 1 << 20,
    API_REQUEST_ID_MAX = 64,
};

struct server;
struct api_change;
struct api_fork;
struct api_route;

struct api_request {
    struct server *server;
    struct http_exchange *x;
    const struct http_request *head;
    const struct api_route *route;
    char project[KEY_NAME_MAX + 1]; /* of the key */
    char *params[API_PARAMS_MAX];   /* decoded path segments where the route has {} */
    json_t *body;                   /* object; NULL if the route takes none */
    char about[ROUTE_ID_MAX + 1];    /* the sandbox that it names, "": none */
    char id[API_REQUEST_ID_MAX + 1]; /* the client's X-Request-Id, or ours */
    int64_t began;                   /* monotonic */
    int status;                      /* as answered; 0: not yet */
    struct sandbox_wait wait;
    struct turn turn;       /* of a creation */
    bool has_turn;
    int64_t timeout;           /* of a connect that waits */
    bool memory;               /* what it wants back */
    bool pooled;               /* a creation that was given a sandbox of the pool ... */
    bool anew;                 /* ... and is to be given none again */
    struct api_change *change; /* of a network, under way */
    struct agent_call *call;   /* to the sandbox's agent, under way */
    bool taking;               /* a snapshot is being taken for it */
    struct api_fork *fork;     /* under way */
};

typedef void api_handler_fn(struct api_request *r);

enum api_body {
    API_BODY_NONE,
    API_BODY_OBJECT,  /* required */
    API_BODY_OPTIONAL /* nothing counts as {} */
};

struct api_route {
    const char *method;
    const char *path; /* literal segments and {} */
    api_handler_fn *handler;
    enum api_body body;
    bool open; /* needs no key */
};

/* Takes over an exchange whose route is ROUTE_API. */
void api_handle(struct server *server, struct http_exchange *x);

/* Method and path of the i-th route that is implemented, or NULL: for the test of openapi.json. */
const char *api_route_text(size_t i, const char **ret_path);

/* ---- for handlers: each answers, once ---- */
void api_reply_json(struct api_request *r, int status, json_t *value); /* reference stolen */
void api_reply_empty(struct api_request *r, int status);
void api_reply_error(struct api_request *r, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* 429 or 503, with one word for programs in the member "cause". */
void api_reply_refused(struct api_request *r, int status, uint64_t retry_s, const char *cause,
                       const char *message);
void api_reply_err(struct api_request *r, const struct err *err);
/* What a launcher could not do: no room is 503, a fault 500 (protocol.md 2.2). */
void api_reply_launcher_err(struct api_request *r, const struct err *err);

/* The sandbox that params[0] names, if the caller's project owns it; otherwise NULL, and the error
 * has been answered. One that is being killed is there only for who asks for it. */
struct sandbox *api_find_sandbox(struct api_request *r, bool killing_too);
/* Integer query parameter. 1, 0 when absent, -EINVAL when answered with 400. */
int api_query_integer(struct api_request *r, const char *name, int64_t min, int64_t max,
                      int64_t *ret);
/* Decoded query parameter into out. 1, 0 when absent, -EINVAL when answered with 400. */
int api_query_text(struct api_request *r, const char *name, struct buf *out);

/* ---- handlers, by file ---- */
/* api_create.c */
api_handler_fn api_sandbox_create_v1;
api_handler_fn api_sandbox_create_v2;
/* api_sandbox.c */
api_handler_fn api_sandbox_get;
api_handler_fn api_sandbox_delete;
api_handler_fn api_sandbox_timeout;
api_handler_fn api_sandbox_refresh;
api_handler_fn api_sandbox_connect;
api_handler_fn api_sandbox_resume;
api_handler_fn api_sandbox_pause;
/* api_network.c */
api_handler_fn api_sandbox_network;
/* The request ends before its change of a network has. */
void api_network_forget(struct api_request *r);
/* api_snapshot.c */
api_handler_fn api_snapshot_create;
api_handler_fn api_snapshot_list;
api_handler_fn api_snapshot_delete;
api_handler_fn api_sandbox_fork;
/* The request ends before its fork or snapshot has. */
void api_fork_forget(struct api_request *r);
/* api_list.c */
api_handler_fn api_sandbox_list_v1;
api_handler_fn api_sandbox_list_v2;
/* api_logs.c */
api_handler_fn api_logs_v1;
api_handler_fn api_logs_v2;
/* api_metrics.c */
api_handler_fn api_metrics_sandbox;
api_handler_fn api_metrics_latest;
/* api_template.c */
api_handler_fn api_template_list;
api_handler_fn api_template_get;
api_handler_fn api_template_alias;
