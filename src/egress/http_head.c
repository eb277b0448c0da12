/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads. Where two readers could understand a head differently it is refused: the server must
 * see the host that was checked. */
#include "egress/http_head.h"

#include <errno.h>

#include "base/str.h"

/* Host, or the authority of an absolute target: a name and no port but 80. */
static bool parse_authority(struct str text, char name[HOSTNAME_SIZE])
{
    struct str host, rest = text;
    if (!str_split(&rest, ':', &host) || (rest.p && !str_eqz(rest, "80")))
        return false;
    return hostname_normalize(host, name) > 0;
}

/* The authority and what follows, of "http://a.example/x". False: it is no such target. */
static bool split_absolute(struct str target, struct str *ret_authority, struct str *ret_path)
{
    const struct str scheme = STR("http://");
    if (target.len < scheme.len || !str_ieq((struct str){target.p, scheme.len}, scheme))
        return false;
    target.p += scheme.len;
    target.len -= scheme.len;
    size_t end = 0;
    while (end < target.len && target.p[end] != '/' && target.p[end] != '?')
        end++;
    *ret_authority = (struct str){target.p, end};
    *ret_path = (struct str){target.p + end, target.len - end};
    return true;
}

/* One Host field, and an absolute target must say the same. *path is what the server gets. */
static const char *find_host(struct str target, const struct http_headers *headers, char *name,
                             struct str *path, struct str *ret_host)
{
    char other[HOSTNAME_SIZE];
    struct str authority;
    unsigned hosts = 0;
    for (size_t i = 0; i < headers->count; i++) {
        if (headers->list[i].name.len == 0)
            return "a field without a name";
        if (!str_ieqz(headers->list[i].name, "Host"))
            continue;
        *ret_host = headers->list[i].value;
        hosts++;
    }
    if (hosts != 1)
        return hosts ? "more than one Host" : "no Host";
    if (!parse_authority(*ret_host, name))
        return "Host is not a name (with no port but 80)";
    *path = target;
    if (split_absolute(target, &authority, path)) {
        if (!parse_authority(authority, other) || strcmp(name, other) != 0)
            return "target and Host name different hosts";
        if (path->len == 0)
            *path = STR("/");
    } else if (target.len == 0 || (target.p[0] != '/' && !str_eqz(target, "*"))) {
        return "not a target for a server";
    }
    return NULL;
}

/* Fields of this connection, and those that we write ourselves. */
static bool is_left_out(const struct http_headers *headers, struct str name)
{
    static const char *const names[] = {
        "Connection", "Proxy-Connection",  "Keep-Alive",     "Upgrade", "HTTP2-Settings",
        "Host",       "Transfer-Encoding", "Content-Length", "TE",      "Proxy-Authorization"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_ieqz(name, names[i]))
            return true;
    char text[64];
    if (name.len >= sizeof text)
        return false;
    memcpy(text, name.p, name.len);
    text[name.len] = '\0';
    return http_header_has_token(headers, "Connection", text);
}

static int write_fields(const struct http_headers *headers, struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < headers->count; i++) {
        const struct http_header *field = &headers->list[i];
        if (is_left_out(headers, field->name))
            continue;
        if (buf_append_str(out, field->name) < 0 || buf_append_z(out, ": ") < 0 ||
            buf_append_str(out, field->value) < 0)
            rc = -ENOBUFS;
        if (rc == 0)
            rc = buf_append_z(out, "\r\n");
    }
    return rc;
}

static int write_framing(const struct http_headers *headers, int64_t content_length, bool upgrade,
                         struct buf *out)
{
    int rc = 0;
    if (content_length < 0)
        rc = buf_append_z(out, "Transfer-Encoding: chunked\r\n");
    else if (http_header_has(headers, "Content-Length"))
        rc = buf_printf(out, "Content-Length: %lld\r\n", (long long)content_length);
    if (rc == 0)
        rc = buf_append_z(out, upgrade ? "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                                       : "Connection: close\r\n\r\n");
    return rc;
}

const char *http_head_rewrite(struct str method, struct str target, unsigned version,
                              const struct http_headers *headers, int64_t content_length,
                              struct buf *out, struct http_want *ret, struct str *ret_host)
{
    struct http_want want = {0};
    struct str path;
    *ret_host = STR("");
    const char *why = find_host(target, headers, want.name, &path, ret_host);
    if (why)
        return why;
    if (version != 10 && version != 11)
        return "a version other than HTTP/1.0 and 1.1";
    if (str_eqz(method, "CONNECT"))
        return "CONNECT is for proxies";
    if (str_eqz(method, "PRI"))
        return "PRI is no request (RFC 9113, 3.4)";
    if (content_length < 0 && !str_ieqz(http_header_get(headers, "Transfer-Encoding"), "chunked"))
        return "a transfer encoding other than chunked";
    /* Of what a connection could be turned into, only this stays with one host. */
    want.upgrade = http_header_has_token(headers, "Connection", "upgrade") &&
                   str_ieqz(http_header_get(headers, "Upgrade"), "websocket") &&
                   content_length == 0;
    /* "http://a.example?x" has no path; a server must get one (RFC 9112, 3.2.1). */
    int rc = buf_printf(out, "%.*s %s%.*s HTTP/1.%u\r\nHost: %s\r\n", STR_ARG(method),
                        path.p[0] == '?' ? "/" : "", STR_ARG(path), version - 10, want.name);
    if (rc == 0)
        rc = write_fields(headers, out);
    if (rc == 0)
        rc = write_framing(headers, content_length, want.upgrade, out);
    if (rc < 0)
        return "head too large";
    *ret = want;
    return NULL;
}
