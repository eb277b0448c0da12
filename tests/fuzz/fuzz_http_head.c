/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of sandboxes, through the parser and written anew: what the server would get must be one
 * request, with one Host, which is the name that was found. */
#include <string.h>

#include "egress/http_head.h"
#include "fuzz.h"
#include "http/parser.h"

static bool skip(const char *p, size_t n, void *arg)
{
    return true;
}

/* The head of what comes of it, if anything does. */
static enum parser_stop rewrite(const char *p, size_t n, struct buf *out, struct http_want *want)
{
    struct parser *parser = parser_new(HTTP_REQUEST, skip, NULL);
    size_t used;
    enum parser_stop stop = parser_feed(parser, p, n, &used);
    if (stop == PARSER_HEAD) {
        struct http_headers headers = parser_headers(parser);
        struct str host;
        const char *method = llhttp_method_name((llhttp_method_t)parser->http.method);
        unsigned version = 10u * parser->http.http_major + parser->http.http_minor;
        if (http_head_rewrite(str_from(method), parser_url(parser), version, &headers,
                              parser_content_length(parser), out, want, &host))
            stop = PARSER_ERROR;
    }
    parser_free(parser);
    return stop;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct http_want want, again;
    struct buf first, second;
    buf_init(&first, 1 << 20);
    buf_init(&second, 1 << 20);
    if (rewrite((const char *)p, n, &first, &want) == PARSER_HEAD) {
        FUZZ_CHECK(hostname_valid(str_from(want.name)));
        enum parser_stop stop = rewrite(buf_ptr(&first), buf_len(&first), &second, &again);
        /* Two fields are new, and may be too many. */
        FUZZ_CHECK(stop == PARSER_HEAD || stop == PARSER_TOO_LARGE);
        if (stop == PARSER_HEAD) {
            FUZZ_CHECK(strcmp(want.name, again.name) == 0 && want.upgrade == again.upgrade);
            FUZZ_CHECK(str_eq(buf_str(&first), buf_str(&second)));
        }
    }
    buf_done(&first);
    buf_done(&second);
    return 0;
}
