/* SPDX-License-Identifier: Apache-2.0 */
/* Routing, keys and bodies of the control API. */
#include "server/api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "server/agent_call.h"
#include "server/field.h"
#include "server/limit.h"
#include "server/observe.h"
#include "server/openapi.h"
#include "server/sandbox_list.h"
#include "server/server.h"

enum { RETRY_AFTER_S = 2 };

static void health(struct api_request *r)
{
    api_reply_empty(r, 204);
}

/* For who distributes load: alive is not yet able to make sandboxes. */
static void ready(struct api_request *r)
{
    const char *why = observe_not_ready(r->server);
    if (why)
        api_reply_refused(r, 503, RETRY_AFTER_S, "launcher", why);
    else
        api_reply_empty(r, 204);
}

static void openapi(struct api_request *r)
{
    r->status = 200;
    http_respond(r->x, 200, "application/json",
                 (struct str){openapi_text, (size_t)(openapi_text_end - openapi_text)});
}

/* Routes of the protocol that have no implementation behind them yet: better a clear answer than
 * "not found". */
static void not_implemented(struct api_request *r)
{
    api_reply_error(r, 501, "%s %s is not implemented by this server", r->route->method,
                    r->route->path);
}

static const struct api_route routes[] = {
    {"GET", "/health", health, API_BODY_NONE, true},
    {"GET", "/ready", ready, API_BODY_NONE, true},
    {"GET", "/openapi.json", openapi, API_BODY_NONE, true},

    {"POST", "/sandboxes", api_sandbox_create_v1, API_BODY_OBJECT},
    {"POST", "/v2/sandboxes", api_sandbox_create_v2, API_BODY_OBJECT},
    {"GET", "/sandboxes", api_sandbox_list_v1},
    {"GET", "/v2/sandboxes", api_sandbox_list_v2},
    {"GET", "/sandboxes/metrics", api_metrics_latest},
    {"GET", "/sandboxes/{}", api_sandbox_get},
    {"DELETE", "/sandboxes/{}", api_sandbox_delete},
    {"POST", "/sandboxes/{}/timeout", api_sandbox_timeout, API_BODY_OBJECT},
    {"POST", "/sandboxes/{}/refreshes", api_sandbox_refresh, API_BODY_OPTIONAL},
    {"POST", "/sandboxes/{}/connect", api_sandbox_connect, API_BODY_OPTIONAL},
    {"POST", "/v2/sandboxes/{}/connect", api_sandbox_connect, API_BODY_OPTIONAL},
    {"POST", "/sandboxes/{}/pause", api_sandbox_pause, API_BODY_OPTIONAL},
    {"POST", "/sandboxes/{}/resume", api_sandbox_resume, API_BODY_OPTIONAL},
    {"GET", "/sandboxes/{}/metrics", api_metrics_sandbox},
    {"PUT", "/sandboxes/{}/network", api_sandbox_network, API_BODY_OBJECT},
    {"GET", "/sandboxes/{}/logs", api_logs_v1},
    {"GET", "/v2/sandboxes/{}/logs", api_logs_v2},
    {"POST", "/sandboxes/{}/fork", api_sandbox_fork, API_BODY_OPTIONAL},
    {"POST", "/sandboxes/{}/snapshots", api_snapshot_create, API_BODY_OPTIONAL},
    {"GET", "/snapshots", api_snapshot_list},

    {"GET", "/templates", api_template_list},
    {"GET", "/v2/templates", api_template_list},
    {"GET", "/templates/aliases/{}", api_template_alias},
    {"GET", "/templates/{}", api_template_get},
    {"DELETE", "/templates/{}", api_snapshot_delete},
    {"PATCH", "/templates/{}", not_implemented},
    {"PATCH", "/v2/templates/{}", not_implemented},
    {"POST", "/templates", not_implemented},
    {"POST", "/v2/templates", not_implemented},
    {"POST", "/v3/templates", not_implemented},
    {"POST", "/templates/tags", not_implemented},
    {"DELETE", "/templates/tags", not_implemented},
    {"POST", "/templates/{}", not_implemented},
    {"GET", "/templates/{}/tags", not_implemented},
    {"GET", "/templates/{}/files/{}", not_implemented},
    {"POST", "/templates/{}/builds/{}", not_implemented},
    {"POST", "/v2/templates/{}/builds/{}", not_implemented},
    {"GET", "/templates/{}/builds/{}/status", not_implemented},
    {"GET", "/templates/{}/builds/{}/logs", not_implemented},

    {"GET", "/volumes", not_implemented},
    {"POST", "/volumes", not_implemented},
    {"GET", "/volumes/{}", not_implemented},
    {"DELETE", "/volumes/{}", not_implemented},
    {"GET", "/secrets", not_implemented},
    {"POST", "/secrets", not_implemented},
    {"GET", "/secrets/{}", not_implemented},
    {"POST", "/secrets/{}", not_implemented},
    {"DELETE", "/secrets/{}", not_implemented},
    {"GET", "/teams", not_implemented},
};

const char *api_route_text(size_t i, const char **ret_path)
{
    for (const struct api_route *route = routes; route < routes + ARRAY_SIZE(routes); route++) {
        if (route->handler == not_implemented || i-- > 0)
            continue;
        *ret_path = route->path;
        return route->method;
    }
    return NULL;
}

/* ---- replies ---- */

void api_reply_json(struct api_request *r, int status, json_t *value)
{
    _cleanup_free_ char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    if (!text) {
        api_reply_error(r, 500, "the answer cannot be written as JSON");
        return;
    }
    r->status = status;
    http_respond(r->x, status, "application/json; charset=utf-8", str_from(text));
}

void api_reply_empty(struct api_request *r, int status)
{
    r->status = status;
    http_respond(r->x, status, NULL, STR(""));
}

void api_reply_error(struct api_request *r, int status, const char *fmt, ...)
{
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    /* Clients retry on these only when told when, and only with a whole number. */
    if (status == 429 || status == 503)
        http_respond_headerf(r->x, "Retry-After", "%d", RETRY_AFTER_S);
    r->status = status;
    http_respond_error(r->x, status, "%s", message);
}

void api_reply_refused(struct api_request *r, int status, uint64_t retry_s, const char *cause,
                       const char *message)
{
    json_t *body = json_pack("{s:i, s:s, s:s}", "code", status, "message", message, "cause", cause);
    http_respond_headerf(r->x, "Retry-After", "%llu", (unsigned long long)retry_s);
    api_reply_json(r, status, body);
}

void api_reply_err(struct api_request *r, const struct err *err)
{
    api_reply_error(r, err_http_status(err->code), "%s", err->message);
}

void api_reply_launcher_err(struct api_request *r, const struct err *err)
{
    int status = err_http_status(err->code);
    if (status == 429 || status == 504 || status == 507)
        status = 503;
    else if (status < 500 && status != 404)
        status = 500;
    api_reply_error(r, status, "%s", err->message);
}

/* ---- what handlers ask for ---- */

struct sandbox *api_find_sandbox(struct api_request *r, bool killing_too)
{
    struct str rest = str_from(r->params[0]), part;
    char id[ROUTE_ID_MAX + 1] = "";
    size_t parts = 0;
    for (struct str all = rest; str_split(&all, '-', &part);)
        parts++;
    str_split(&rest, '-', &part);
    bool valid = parts <= 2 && part.len > 0;
    for (size_t i = 0; i < part.len; i++)
        valid = valid &&
                ((part.p[i] >= 'a' && part.p[i] <= 'z') || (part.p[i] >= '0' && part.p[i] <= '9'));
    if (!valid) {
        api_reply_error(r, 400, "Invalid sandbox ID");
        return NULL;
    }
    struct sandbox *sb = NULL;
    if (route_parse_id(part, id) == 0)
        sb = sandbox_list_find(r->server->sandboxes, id);
    memcpy(r->about, id, sizeof r->about);
    if (sb && strcmp(sb->project, r->project) == 0 &&
        (sandbox_visible(sb) || (killing_too && sb->state == SANDBOX_KILLING)))
        return sb;
    api_reply_error(r, 404, "Sandbox \"%.*s\" doesn't exist or you don't have access to it",
                    STR_ARG(part));
    return NULL;
}

int api_query_text(struct api_request *r, const char *name, struct buf *out)
{
    bool bad = false;
    bool found = http_query_get(r->head->query, name, out, &bad);
    if (!bad)
        return found;
    api_reply_error(r, 400, "query parameter \"%s\": bad escape", name);
    return -EINVAL;
}

int api_query_integer(struct api_request *r, const char *name, int64_t min, int64_t max,
                      int64_t *ret)
{
    struct buf text;
    buf_init(&text, HTTP_HEAD_BYTES_MAX);
    int rc = api_query_text(r, name, &text);
    if (rc > 0 && str_to_i64(buf_str(&text), min, max, ret) < 0) {
        api_reply_error(r, 400, "query parameter \"%s\" must be an integer from %lld to %lld", name,
                        (long long)min, (long long)max);
        rc = -EINVAL;
    }
    buf_done(&text);
    return rc;
}

/* ---- routing ---- */

/* Whether the raw path fits the pattern. Segments for {} go to params, still encoded. */
static bool path_fits(struct str path, const char *pattern, struct str params[API_PARAMS_MAX])
{
    struct str want = str_from(pattern), want_part, part;
    size_t count = 0;
    for (;;) {
        bool more = str_split(&path, '/', &part), want_more = str_split(&want, '/', &want_part);
        if (!more || !want_more)
            return more == want_more;
        if (str_eqz(want_part, "{}")) {
            if (part.len == 0)
                return false;
            params[count++] = part;
        } else if (!str_eq(part, want_part)) {
            return false;
        }
    }
}

static bool method_fits(struct str method, const char *want)
{
    return str_eqz(method, want) || (str_eqz(method, "HEAD") && strcmp(want, "GET") == 0);
}

/* The route, or NULL with *ret_allow listing the methods the path has ("": no such path). */
static const struct api_route *find_route(const struct http_request *head,
                                          struct str params[API_PARAMS_MAX], char *ret_allow,
                                          size_t allow_size)
{
    size_t used = 0;
    *ret_allow = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        struct str found[API_PARAMS_MAX] = {{0}};
        if (!path_fits(head->path, routes[i].path, found))
            continue;
        if (method_fits(head->method, routes[i].method)) {
            memcpy(params, found, sizeof found);
            return &routes[i];
        }
        if (used < allow_size)
            used += (size_t)snprintf(ret_allow + used, allow_size - used, "%s%s", used ? ", " : "",
                                     routes[i].method);
    }
    return NULL;
}

static bool decode_params(struct api_request *r, const struct str raw[API_PARAMS_MAX])
{
    for (int i = 0; i < API_PARAMS_MAX && raw[i].p; i++) {
        r->params[i] = xmalloc(raw[i].len + 1);
        int64_t n = str_percent_decode(raw[i], false, r->params[i]);
        if (n < 0 || memchr(r->params[i], '\0', (size_t)n))
            return false;
        r->params[i][n] = '\0';
    }
    return true;
}

/* ---- life of a request ---- */

/* One line a request; those that only look and are answered well are left to those who debug. */
static void note(const struct api_request *r)
{
    struct stats *stats = &r->server->stats;
    int64_t took = clock_mono_ns() - r->began;
    bool quiet = r->status && r->status < 400 && strcmp(r->route->method, "GET") == 0;
    stats_answer(stats->api, r->status);
    if (r->status)
        stats_time(&stats->api_times, took);
    log_write(quiet ? LOG_DEBUG : LOG_INFO, "request",
              "request_id=%s project=%s method=%s route=%s sandbox=%s status=%d us=%lld", r->id,
              *r->project ? r->project : "-", r->route->method, r->route->path,
              *r->about ? r->about : "-", r->status, (long long)(took / 1000));
}

static void on_closed(struct http_exchange *x, void *arg)
{
    struct api_request *r = arg;
    note(r);
    sandbox_wait_cancel(&r->wait);
    turn_end(&r->turn);
    api_network_forget(r);
    api_fork_forget(r);
    agent_call_cancel(r->call);
    for (int i = 0; i < API_PARAMS_MAX; i++)
        free(r->params[i]);
    json_decref(r->body);
    free(r);
}

static void on_body(struct http_exchange *x, int status, struct str body, void *arg)
{
    struct api_request *r = arg;
    struct err err;
    if (status == -EMSGSIZE) {
        api_reply_error(r, 413, "the body is larger than %d bytes", API_BODY_MAX);
        return;
    }
    if (status < 0) {
        api_reply_error(r, 400, "the body is cut or malformed");
        return;
    }
    if (body.len == 0 && r->route->body == API_BODY_OPTIONAL)
        r->body = json_object();
    else
        r->body = field_parse_object(body, &err);
    if (r->body)
        r->route->handler(r);
    else
        api_reply_err(r, &err);
}

static bool authorized(struct api_request *r)
{
    const struct http_headers *headers = &r->head->headers;
    struct str key = http_header_get(headers, "X-API-KEY");
    if (!key.p) { /* the CLI's account calls */
        struct str bearer = http_header_get(headers, "Authorization");
        if (bearer.len > 7 && str_ieqz((struct str){bearer.p, 7}, "Bearer "))
            key = (struct str){bearer.p + 7, bearer.len - 7};
    }
    if (!key.p) {
        api_reply_error(r, 401, "no API key: send it in the header X-API-KEY");
        return false;
    }
    const char *project = key_ring_check(r->server->keys, key);
    if (!project) {
        api_reply_error(r, 401, "the API key is not valid");
        return false;
    }
    snprintf(r->project, sizeof r->project, "%s", project);
    return true;
}

/* Whether the project has not asked too often of late. */
static bool within_rate(struct api_request *r)
{
    struct limit_state state;
    if (!r->server->limit)
        return true;
    bool ok = limit_take(r->server->limit, r->project, r->began, &state);
    http_respond_headerf(r->x, "RateLimit-Limit", "%llu", (unsigned long long)state.burst);
    http_respond_headerf(r->x, "RateLimit-Remaining", "%llu", (unsigned long long)state.remaining);
    http_respond_headerf(r->x, "RateLimit-Reset", "%llu", (unsigned long long)state.reset);
    if (ok)
        return true;
    r->server->stats.refused_rate++;
    api_reply_refused(r, 429, state.reset, "rate", "too many requests of this project");
    return false;
}

static bool id_valid(struct str id)
{
    for (size_t i = 0; i < id.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", id.p[i]) ||
            id.p[i] == '\0')
            return false;
    return id.len > 0 && id.len <= API_REQUEST_ID_MAX;
}

/* The client's own name for its request, so that both logs can be laid side by side. */
static void name_request(struct api_request *r)
{
    struct str given = http_header_get(&r->head->headers, "X-Request-Id");
    uint64_t number;
    if (given.p && id_valid(given)) {
        snprintf(r->id, sizeof r->id, "%.*s", STR_ARG(given));
    } else {
        random_bytes(&number, sizeof number);
        snprintf(r->id, sizeof r->id, "%016llx", (unsigned long long)number);
    }
    http_respond_header(r->x, "X-Request-Id", r->id);
}

static void reply_preflight(struct http_exchange *x)
{
    struct str headers =
        http_header_get(&http_exchange_request(x)->headers, "Access-Control-Request-Headers");
    http_respond_header(x, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
    if (headers.p)
        http_respond_headerf(x, "Access-Control-Allow-Headers", "%.*s", STR_ARG(headers));
    http_respond_header(x, "Access-Control-Max-Age", "7200");
    http_respond(x, 204, NULL, STR(""));
}

void api_handle(struct server *server, struct http_exchange *x)
{
    static const struct http_exchange_events events = {.closed = on_closed};
    const struct http_request *head = http_exchange_request(x);
    struct str params[API_PARAMS_MAX] = {{0}};
    char allow[128];

    if (http_header_has(&head->headers, "Origin")) {
        http_respond_header(x, "Access-Control-Allow-Origin", "*");
        http_respond_header(x, "Access-Control-Expose-Headers",
                            "X-Next-Token, X-Total-Running, RateLimit-Limit, RateLimit-Remaining, "
                            "RateLimit-Reset, Retry-After, X-Request-Id");
    }
    if (str_eqz(head->method, "OPTIONS") &&
        http_header_has(&head->headers, "Access-Control-Request-Method")) {
        reply_preflight(x);
        return;
    }
    const struct api_route *route = find_route(head, params, allow, sizeof allow);
    if (!route && *allow) {
        http_respond_header(x, "Allow", allow);
        http_respond_error(x, 405, "%.*s is not a method of this path (%s)", STR_ARG(head->method),
                           allow);
        return;
    }
    if (!route) {
        http_respond_error(x, 404, "there is no such path");
        return;
    }
    struct api_request *r = xcalloc(1, sizeof *r);
    r->server = server;
    r->x = x;
    r->head = head;
    r->route = route;
    r->began = clock_mono_ns();
    name_request(r);
    http_exchange_on(x, &events, r);
    if (!route->open && (!authorized(r) || !within_rate(r)))
        return;
    if (!decode_params(r, params))
        api_reply_error(r, 400, "bad escape in the path");
    else if (route->body == API_BODY_NONE)
        route->handler(r);
    else
        http_body_collect(x, API_BODY_MAX, on_body, r);
}
