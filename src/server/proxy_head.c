/* SPDX-License-Identifier: Apache-2.0 */
/* Rewriting of heads. */
#include "server/proxy_head.h"

#include <errno.h>

#include "base/mem.h"
#include "server/proxy_reply.h"

/* Fields that end here in either direction; Content-Length because framing is made anew, Expect
 * because http/server.h answers it. */
static bool is_hop_by_hop(struct str name)
{
    static const char *const names[] = {
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Content-Length",
        "Expect",
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_ieqz(name, names[i]))
            return true;
    return false;
}

/* Whether Connection names fields at all, beyond the usual words. */
static bool names_fields(const struct http_headers *headers)
{
    struct str value = http_header_get(headers, "Connection");
    return value.p && !str_ieqz(value, "keep-alive") && !str_ieqz(value, "close") &&
           !str_ieqz(value, "upgrade");
}

static bool named_by_connection(const struct http_headers *headers, struct str name)
{
    char text[128];
    if (name.len >= sizeof text)
        return false;
    memcpy(text, name.p, name.len);
    text[name.len] = '\0';
    return http_header_has_token(headers, "Connection", text);
}

static int append_field(struct buf *out, struct str name, struct str value)
{
    int rc = buf_append_str(out, name);
    rc = rc < 0 ? rc : buf_append(out, ": ", 2);
    rc = rc < 0 ? rc : buf_append_str(out, value);
    return rc < 0 ? rc : buf_append(out, "\r\n", 2);
}

static int append_masked_host(struct buf *out, const char *mask, int port, struct str original)
{
    const char *at = strstr(mask, "${PORT}");
    int rc = at ? buf_printf(out, "Host: %.*s%d%s\r\n", (int)(at - mask), mask, port, at + 7)
                : buf_printf(out, "Host: %s\r\n", mask);
    return rc < 0 || !original.p ? rc : append_field(out, STR("X-Forwarded-Host"), original);
}

static bool left_out(struct str name, const struct proxy_head_options *options)
{
    if (options->drop_api_key && str_ieqz(name, "X-API-KEY"))
        return true;
    return options->mask_host && (str_ieqz(name, "Host") || str_ieqz(name, "X-Forwarded-Host"));
}

int proxy_head_request(const struct http_request *request, const struct proxy_head_options *options,
                       struct buf *out)
{
    const struct http_headers *headers = &request->headers;
    bool listed = names_fields(headers);
    int rc = 0;
    for (size_t i = 0; i < headers->count && rc == 0; i++) {
        struct str name = headers->list[i].name;
        if (is_hop_by_hop(name) || left_out(name, options) ||
            (listed && named_by_connection(headers, name)))
            continue;
        rc = append_field(out, name, headers->list[i].value);
    }
    if (rc == 0 && options->mask_host)
        rc = append_masked_host(out, options->mask_host, options->port,
                                http_header_get(headers, "Host"));
    if (rc < 0)
        return rc;
    struct str upgrade = http_header_get(headers, "Upgrade");
    if (!request->upgrade || !upgrade.p)
        return buf_append_z(out, "Connection: close\r\n");
    rc = buf_append_z(out, "Connection: Upgrade\r\n");
    return rc < 0 ? rc : append_field(out, STR("Upgrade"), upgrade);
}

static void copy_field(struct http_exchange *x, const struct http_header *field)
{
    struct buf text; /* "name\0value\0" */
    buf_init(&text, HTTP_HEAD_BYTES_MAX + 2);
    buf_append_str(&text, field->name);
    buf_append_char(&text, '\0');
    buf_append_str(&text, field->value);
    const char *both = buf_cstr(&text);
    if (both)
        http_respond_header(x, both, both + field->name.len + 1);
    buf_done(&text);
}

/* How the body is framed for our client. */
static int64_t body_length(const struct http_request *request, const struct http_response *response)
{
    if (response->status == 204 || response->status == 304 || response->upgrade)
        return HTTP_LENGTH_NONE;
    if (response->content_length >= 0)
        return response->content_length;
    /* To HEAD, no length field stays no length field. */
    return str_eqz(request->method, "HEAD") ? HTTP_LENGTH_NONE : HTTP_LENGTH_CHUNKED;
}

bool proxy_head_response(struct http_exchange *x, const struct http_response *response,
                         bool add_cors)
{
    const struct http_request *request = http_exchange_request(x);
    const struct http_headers *headers = &response->headers;
    bool listed = names_fields(headers);
    if (response->upgrade && !request->upgrade)
        return false;
    for (size_t i = 0; i < headers->count; i++) {
        struct str name = headers->list[i].name;
        if (!is_hop_by_hop(name) && !(listed && named_by_connection(headers, name)))
            copy_field(x, &headers->list[i]);
    }
    if (response->upgrade) {
        struct str upgrade = http_header_get(headers, "Upgrade");
        http_respond_header(x, "Connection", "Upgrade");
        http_respond_headerf(x, "Upgrade", "%.*s", STR_ARG(upgrade));
    } else if (add_cors && !http_header_has(headers, "Access-Control-Allow-Origin")) {
        proxy_add_cors(x);
    }
    http_respond_start(x, response->status, body_length(request, response));
    return true;
}
