/* SPDX-License-Identifier: Apache-2.0 */
/* Replies in place of a sandbox. */
#include "server/proxy_reply.h"

#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"

/* Whether text contains the word, ASCII case ignored. */
static bool contains(struct str text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.len; i++)
        if (str_ieqz((struct str){text.p + i, n}, word))
            return true;
    return false;
}

static bool wants_page(const struct http_request *request)
{
    static const char *const browsers[] = {"mozilla", "chrome", "safari", "firefox",
                                           "edge",    "opera",  "msie"};
    const struct http_headers *headers = &request->headers;
    struct str agent = http_header_get(headers, "User-Agent");
    bool browser = false;
    for (size_t i = 0; i < ARRAY_SIZE(browsers); i++)
        browser = browser || contains(agent, browsers[i]);
    return browser && !contains(http_header_get(headers, "Accept"), "json") &&
           !str_ieqz(http_header_get(headers, "Sec-Fetch-Mode"), "cors") &&
           !http_header_has(headers, "X-Requested-With");
}

static void reply_page(struct http_exchange *x, int status, const char *id, const char *message,
                       int port)
{
    struct buf page;
    buf_init(&page, 8192);
    buf_printf(
        &page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
        "<title>%d %s</title><style>body{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;"
        "max-width:32rem;padding:0 1rem;color:#222;background:#fff}code{font-size:1em}"
        "@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}}</style></head>"
        "<body><h1>%s</h1><p>Sandbox <code>%s</code>",
        status, http_reason(status), message, id);
    if (port > 0)
        buf_printf(&page,
                   ", port <code>%d</code></p><p>Start a server on this port inside the sandbox, "
                   "then reload.",
                   port);
    buf_append_z(&page, "</p></body></html>\n");
    http_respond(x, status, "text/html; charset=utf-8", buf_str(&page));
    buf_done(&page);
}

static void reply(struct http_exchange *x, int status, const char *id, const char *message,
                  int port)
{
    if (http_exchange_broken(x) || http_respond_started(x))
        return;
    http_respond_header(x, "Cache-Control", "no-store");
    proxy_add_cors(x);
    if (wants_page(http_exchange_request(x))) {
        reply_page(x, status, id, message, port);
        return;
    }
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body, "{\"sandboxId\":\"%s\",\"message\":\"%s\",", id, message);
    if (port > 0)
        buf_printf(&body, "\"port\":%d,", port);
    buf_printf(&body, "\"code\":%d}", status);
    http_respond(x, status, "application/json; charset=utf-8", buf_str(&body));
    buf_done(&body);
}

void proxy_reply_not_found(struct http_exchange *x, const char *id)
{
    reply(x, 502, id, "The sandbox was not found", 0);
}

void proxy_reply_closed_port(struct http_exchange *x, const char *id, int port)
{
    reply(x, 502, id, "The sandbox is running but port is not open", port);
}

void proxy_reply(struct http_exchange *x, int status, const char *id, const char *message)
{
    reply(x, status, id, message, 0);
}

void proxy_reply_hidden(struct http_exchange *x)
{
    struct str path = http_exchange_request(x)->path;
    json_t *body = json_object();
    json_object_set_new(body, "message", json_string("not found"));
    json_t *text = json_stringn(path.p, path.len); /* NULL when it is not UTF-8 */
    json_object_set_new(body, "path", text ? text : json_string(""));
    json_object_set_new(body, "code", json_integer(404));
    _cleanup_free_ char *out = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    proxy_add_cors(x);
    http_respond(x, 404, "application/json; charset=utf-8", str_from(out));
}

void proxy_reply_error(struct http_exchange *x, int status, const char *message)
{
    proxy_add_cors(x);
    http_respond_error(x, status, "%s", message);
}

void proxy_reply_text(struct http_exchange *x, int status, const char *text)
{
    http_respond(x, status, "text/plain; charset=utf-8", str_from(text));
}

bool proxy_is_preflight(const struct http_request *request)
{
    return str_eqz(request->method, "OPTIONS") &&
           http_header_has(&request->headers, "Access-Control-Request-Method");
}

void proxy_reply_preflight(struct http_exchange *x)
{
    struct str headers =
        http_header_get(&http_exchange_request(x)->headers, "Access-Control-Request-Headers");
    http_respond_header(x, "Access-Control-Allow-Origin", "*");
    http_respond_header(x, "Access-Control-Allow-Methods",
                        "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    if (headers.p) /* "*" would not cover Authorization */
        http_respond_headerf(x, "Access-Control-Allow-Headers", "%.*s", STR_ARG(headers));
    http_respond_header(x, "Access-Control-Max-Age", "7200");
    http_respond_header(x, "Vary", "Access-Control-Request-Headers");
    http_respond(x, 204, NULL, STR(""));
}

void proxy_add_cors(struct http_exchange *x)
{
    if (!http_header_has(&http_exchange_request(x)->headers, "Origin"))
        return; /* no browser asks */
    http_respond_header(x, "Access-Control-Allow-Origin", "*");
    http_respond_header(x, "Access-Control-Expose-Headers",
                        "Connect-Content-Encoding, Connect-Accept-Encoding, Grpc-Status, "
                        "Grpc-Message, Grpc-Status-Details-Bin, Location, Cache-Control, "
                        "X-Content-Type-Options");
}
