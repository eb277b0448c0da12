/* SPDX-License-Identifier: Apache-2.0 */
/* Routes: /health, /execute, /contexts. */
#include "interpreter/routes.h"

#include <errno.h>
#include <jansson.h>

#include "base/mem.h"
#include "interpreter/context.h"
#include "interpreter/paths.h"

enum { BODY_MAX = 256 << 20 };

static void answer_text(struct http_exchange *x, int status, const char *text)
{
    http_respond(x, status, "text/plain; charset=utf-8", str_from(text));
}

static void answer_json(struct http_exchange *x, int status, json_t *value)
{
    _cleanup_free_ char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
    http_respond(x, status, "application/json", text ? str_from(text) : STR("null"));
}

/* The shape that the SDKs know of a body that is not as it should be. */
static void answer_unprocessable(struct http_exchange *x, const char *field, const char *message)
{
    answer_json(x, 422,
                json_pack("{s:[{s:s,s:[s,s],s:s}]}", "detail", "type", "value_error", "loc", "body",
                          field, "msg", message));
}

static void answer_not_found(struct http_exchange *x, struct str id)
{
    _cleanup_free_ char *text =
        xasprintf("Context %.*s not found", id.len > 256 ? 256 : (int)id.len, id.p);
    answer_text(x, 404, text);
}

/* ---- bodies ---- */

/* 1 when the member is there, 0 when it is absent or null, -EINVAL (answered) when it is no text. */
static int text_member(struct http_exchange *x, const json_t *in, const char *name, struct str *ret)
{
    const json_t *value = json_object_get(in, name);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value)) {
        answer_unprocessable(x, name, "Input should be a valid string");
        return -EINVAL;
    }
    *ret = (struct str){json_string_value(value), json_string_length(value)};
    return 1;
}

static int env_member(struct http_exchange *x, const json_t *in, json_t **ret)
{
    const char *name;
    json_t *value, *env = json_object_get(in, "env_vars");
    *ret = NULL;
    if (!env || json_is_null(env))
        return 0;
    bool good = json_is_object(env);
    json_object_foreach (env, name, value)
        if (!*name || strchr(name, '=') || !json_is_string(value))
            good = false;
    if (!good) {
        answer_unprocessable(x, "env_vars", "Input should be an object of strings");
        return -EINVAL;
    }
    *ret = env;
    return 1;
}

static void execute(struct contexts *all, struct http_exchange *x, const json_t *in)
{
    struct str code, id, language = STR("python");
    struct err err;
    json_t *env;
    int has_code = text_member(x, in, "code", &code);
    if (has_code < 0)
        return;
    if (!has_code) {
        answer_unprocessable(x, "code", "Field required");
        return;
    }
    int has_id = text_member(x, in, "context_id", &id);
    int has_language = has_id < 0 ? -1 : text_member(x, in, "language", &language);
    if (has_language < 0 || env_member(x, in, &env) < 0)
        return;
    if (has_id && has_language) {
        answer_text(x, 400, "Only one of context_id or language can be provided");
        return;
    }
    struct context *c = has_id ? contexts_find(all, id) : contexts_default(all, language, &err);
    if (c)
        context_execute(c, x, code, env);
    else if (has_id)
        answer_not_found(x, id);
    else
        answer_text(x, 500, err.message);
}

static void create(struct contexts *all, struct http_exchange *x, const json_t *in)
{
    struct str language = STR("python"), cwd = STR(PATH_HOME);
    struct err err;
    if (text_member(x, in, "language", &language) < 0 || text_member(x, in, "cwd", &cwd) < 0)
        return;
    struct context *c = contexts_create(all, language, cwd, &err);
    if (c)
        answer_json(x, 200, context_describe(c));
    else
        answer_text(x, 500, err.message);
}

typedef void body_route_fn(struct contexts *all, struct http_exchange *x, const json_t *in);

struct pending {
    struct contexts *all;
    body_route_fn *route;
};

static void on_body(struct http_exchange *x, int status, struct str body, void *arg)
{
    struct pending p = *(struct pending *)arg;
    free(arg);
    http_exchange_on(x, NULL, NULL);
    if (status == -EMSGSIZE) {
        answer_text(x, 413, "The request body is too large");
        return;
    }
    json_t *in = status < 0 ? NULL : json_loadb(body.p, body.len, JSON_ALLOW_NUL, NULL);
    if (json_is_object(in))
        p.route(p.all, x, in);
    else
        answer_unprocessable(x, "body", "JSON decode error");
    json_decref(in);
}

static void on_closed(struct http_exchange *x, void *arg)
{
    free(arg);
}

static const struct http_exchange_events pending_events = {.closed = on_closed};

static void with_body(struct contexts *all, struct http_exchange *x, body_route_fn *route)
{
    struct pending *p = xmalloc(sizeof *p);
    *p = (struct pending){all, route};
    http_exchange_on(x, &pending_events, p);
    http_body_collect(x, BODY_MAX, on_body, p);
}

/* ---- routes ---- */

static void serve_context(struct contexts *all, struct http_exchange *x, struct str method,
                          struct str rest)
{
    char decoded[256];
    struct str restart = STR("/restart");
    bool is_restart = str_ends(rest, restart);
    struct str raw = {rest.p, is_restart ? rest.len - restart.len : rest.len};
    int64_t len = raw.len < sizeof decoded ? str_percent_decode(raw, false, decoded) : -EINVAL;
    struct str id = {decoded, len < 0 ? 0 : (size_t)len};
    struct context *c = contexts_find(all, id);
    if (!str_eqz(method, is_restart ? "POST" : "DELETE")) {
        http_respond_header(x, "Allow", is_restart ? "POST" : "DELETE");
        answer_text(x, 405, "Method Not Allowed");
    } else if (!c) {
        answer_not_found(x, id);
    } else {
        if (is_restart)
            context_restart(c);
        else
            context_remove(c);
        answer_json(x, 200, json_null());
    }
}

static void allow_any_origin(struct http_exchange *x)
{
    http_respond_header(x, "Access-Control-Allow-Origin", "*");
    http_respond_header(x, "Access-Control-Allow-Methods", "*");
    http_respond_header(x, "Access-Control-Allow-Headers", "*");
}

static void serve_contexts(struct contexts *all, struct http_exchange *x, struct str method)
{
    if (str_eqz(method, "GET")) {
        answer_json(x, 200, contexts_list(all));
    } else if (str_eqz(method, "POST")) {
        with_body(all, x, create);
    } else {
        http_respond_header(x, "Allow", "GET, POST");
        answer_text(x, 405, "Method Not Allowed");
    }
}

void routes_handle(struct http_exchange *x, void *arg)
{
    static const struct str contexts = {"/contexts", 9};
    const struct http_request *r = http_exchange_request(x);
    allow_any_origin(x);
    if (str_eqz(r->method, "OPTIONS"))
        answer_text(x, 200, "OK");
    else if (str_eqz(r->path, "/health") && str_eqz(r->method, "GET"))
        answer_json(x, 200, json_string("OK"));
    else if (str_eqz(r->path, "/execute") && str_eqz(r->method, "POST"))
        with_body(arg, x, execute);
    else if (str_eq(r->path, contexts))
        serve_contexts(arg, x, r->method);
    else if (str_starts(r->path, contexts) && r->path.p[contexts.len] == '/')
        serve_context(arg, x, r->method,
                      (struct str){r->path.p + contexts.len + 1, r->path.len - contexts.len - 1});
    else
        answer_json(x, 404, json_pack("{s:s}", "detail", "Not Found"));
}
