/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of tokens and signatures in front of the agent. */
#include "server/access.h"

#include "base/mem.h"
#include "server/sandbox_list.h"

static const struct access_verdict allowed = {.kind = ACCESS_ALLOWED};

static struct access_verdict refuse(int status, const char *message)
{
    return (struct access_verdict){ACCESS_ERROR, status, message};
}

/* Routes that only we may use. Read more liberally than the agent would: percent-encoded, doubled
 * slashes, any case; what is refused here costs nobody anything. */
bool access_is_internal(struct str raw_path)
{
    static const char *const internal[] = {"init",     "freeze", "unfreeze", "collapse",
                                           "fsfreeze", "fsthaw", "upgrade"};
    char path[256];
    if (raw_path.len > sizeof path)
        return false;
    int64_t n = str_percent_decode(raw_path, false, path);
    struct str rest = {path, n > 0 ? (size_t)n : 0};
    while (rest.len > 0 && rest.p[0] == '/') {
        rest.p++;
        rest.len--;
    }
    while (rest.len > 0 && rest.p[rest.len - 1] == '/')
        rest.len--;
    for (size_t i = 0; i < ARRAY_SIZE(internal); i++)
        if (str_ieqz(rest, internal[i]))
            return true;
    return false;
}

static bool files_op(const struct http_request *request, enum token_op *ret)
{
    if (!str_eqz(request->path, "/files"))
        return false;
    *ret = TOKEN_READ;
    if (str_eqz(request->method, "GET") || str_eqz(request->method, "HEAD"))
        return true;
    *ret = TOKEN_WRITE;
    return str_eqz(request->method, "POST");
}

static struct access_verdict check_files(const struct sandbox *sandbox,
                                         const struct http_request *request, enum token_op op,
                                         int64_t now)
{
    struct str given = http_header_get(&request->headers, "X-Access-Token");
    struct token_signature *signature;
    if (given.p) /* decides alone */
        return token_is(sandbox->envd_token, given)
                   ? allowed
                   : refuse(401, "access token present in header but does not match");
    switch (token_signature_parse(request->query, op, &signature)) {
    case TOKEN_NONE:
        return refuse(401, "missing signature query parameter");
    case TOKEN_MALFORMED:
        return refuse(400, "malformed query");
    case TOKEN_PARSED:
        break;
    }
    struct access_verdict verdict = allowed;
    if (!token_signature_matches(signature, sandbox->envd_token))
        verdict = refuse(401, "invalid signature");
    else if (token_signature_expired(signature, now))
        verdict = refuse(401, "signature is already expired");
    token_signature_free(signature);
    return verdict;
}

static struct access_verdict check_agent(const struct sandbox *sandbox,
                                         const struct http_request *request, int64_t now)
{
    enum token_op op;
    if (access_is_internal(request->path))
        return (struct access_verdict){ACCESS_HIDDEN, 404, "not found"};
    if (!*sandbox->envd_token)
        return allowed;
    if (str_eqz(request->path, "/health") && str_eqz(request->method, "GET"))
        return allowed;
    if (files_op(request, &op))
        return check_files(sandbox, request, op, now);
    struct str given = http_header_get(&request->headers, "X-Access-Token");
    if (given.p && token_is(sandbox->envd_token, given))
        return allowed;
    return refuse(401, "unauthorized access, please provide a valid access token or method "
                       "signing if supported");
}

struct access_verdict access_check(const struct sandbox *sandbox, int port,
                                   const struct http_request *request, int64_t now)
{
    if (port == ROUTE_AGENT_PORT)
        return check_agent(sandbox, request, now);
    if (!*sandbox->traffic_token)
        return allowed;
    struct str given = http_header_get(&request->headers, "e2b-traffic-access-token");
    if (!given.p)
        return (struct access_verdict){ACCESS_TRAFFIC, 403,
                                       "Sandbox is secured with traffic access token. Token header "
                                       "'e2b-traffic-access-token' is missing"};
    if (!token_is(sandbox->traffic_token, given))
        return (struct access_verdict){
            ACCESS_TRAFFIC, 403, "Provided token in header 'e2b-traffic-access-token' is invalid"};
    return allowed;
}

bool access_may_resume(const struct sandbox *sandbox, int port, const struct http_request *request)
{
    struct str given = http_header_get(&request->headers, "X-Access-Token");
    return port != ROUTE_AGENT_PORT || !*sandbox->envd_token ||
           !str_eqz(request->path, "/health") || (given.p && token_is(sandbox->envd_token, given));
}

/* The beginning (path, operation, user) is hashed once; each sandbox then costs one short hash, and
 * --max-sandboxes bounds how many there are. */
struct sandbox *access_find_signed(const struct sandbox_list *list,
                                   const struct http_request *request,
                                   struct access_verdict *ret_verdict)
{
    struct token_signature *signature;
    struct sandbox *found = NULL, *sandbox;
    enum token_op op;
    if (!files_op(request, &op)) {
        *ret_verdict = refuse(405, "/files takes GET and POST");
        return NULL;
    }
    switch (token_signature_parse(request->query, op, &signature)) {
    case TOKEN_NONE:
        *ret_verdict = refuse(400, "no sandbox is named: give E2b-Sandbox-Id and "
                                   "E2b-Sandbox-Port, or a signed URL");
        return NULL;
    case TOKEN_MALFORMED:
        *ret_verdict = refuse(400, "malformed query");
        return NULL;
    case TOKEN_PARSED:
        break;
    }
    for (sandbox = sandbox_list_first(list); sandbox; sandbox = sandbox_list_next(sandbox))
        if (sandbox_visible(sandbox) && token_signature_matches(signature, sandbox->envd_token))
            found = sandbox;
    token_signature_free(signature);
    if (!found)
        *ret_verdict = refuse(401, "invalid signature");
    return found;
}
