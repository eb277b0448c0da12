/* SPDX-License-Identifier: Apache-2.0 */
/* Routing by headers, by host label, by path. */
#include "server/route.h"

#include <errno.h>

#include "base/mem.h"

int route_parse_id(struct str text, char ret_id[ROUTE_ID_MAX + 1])
{
    size_t n = str_find(text, '-');
    if (n == 0 || n > ROUTE_ID_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        char c = text.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return -EINVAL;
        ret_id[i] = c;
    }
    ret_id[n] = '\0';
    return 0;
}

static void bad(struct route *route, const char *text)
{
    route->kind = ROUTE_BAD;
    route->bad = text;
}

static void take(struct route *route, struct str id, struct str port)
{
    uint64_t number;
    if (route_parse_id(id, route->id) < 0) {
        bad(route, "Invalid sandbox ID");
    } else if (str_to_u64(port, 65535, &number) < 0 || number == 0) {
        bad(route, "Invalid sandbox port");
    } else {
        route->kind = ROUTE_SANDBOX;
        route->port = (int)number;
    }
}

/* The first label, if it is "<digits>-…" and not the only one: "3000-iabc.sbx.localhost:3000". A
 * control API on a name like that could not be reached; all others can. */
static bool host_label(struct str host, struct str *ret_port, struct str *ret_id)
{
    size_t dot = str_find(host, '.');
    if (dot == host.len)
        return false;
    struct str label = {host.p, dot};
    size_t dash = str_find(label, '-');
    if (dash == label.len || dash == 0)
        return false;
    for (size_t i = 0; i < dash; i++)
        if (label.p[i] < '0' || label.p[i] > '9')
            return false;
    *ret_port = (struct str){label.p, dash};
    *ret_id = (struct str){label.p + dash + 1, label.len - dash - 1};
    return true;
}

void route_request(const struct http_request *request, struct route *ret)
{
    *ret = (struct route){.kind = ROUTE_API};
    struct str id = http_header_get(&request->headers, "E2b-Sandbox-Id");
    struct str port = http_header_get(&request->headers, "E2b-Sandbox-Port");
    if (id.p && port.p)
        take(ret, id, port);
    else if (id.p || port.p)
        bad(ret, "missing header");
    else if (host_label(http_header_get(&request->headers, "Host"), &port, &id))
        take(ret, id, port);
    else if (str_eqz(request->path, "/files"))
        ret->kind = ROUTE_FILES;
}
