/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 messages, on llhttp. */
#include "http/parser.h"

#include "base/mem.h"

static struct parser *owner(llhttp_t *http)
{
    return http->data;
}

static int add_head(struct parser *p, const char *at, size_t n)
{
    if (buf_append(&p->head, at, n) < 0) {
        p->too_large = true;
        return -1;
    }
    return 0;
}

static int on_url(llhttp_t *http, const char *at, size_t n)
{
    struct parser *p = owner(http);
    int rc = add_head(p, at, n);
    p->url_end = buf_len(&p->head);
    return rc;
}

static int on_field(llhttp_t *http, const char *at, size_t n)
{
    struct parser *p = owner(http);
    if (!p->in_head)
        return 0; /* trailers are not used */
    if (p->in_value || p->field_count == 0) {
        if (p->field_count == HTTP_HEADERS_MAX) {
            p->too_large = true;
            return -1;
        }
        p->fields[p->field_count].name = (uint32_t)buf_len(&p->head);
        p->fields[p->field_count].name_len = 0;
        p->fields[p->field_count].value = 0;
        p->fields[p->field_count].value_len = 0;
        p->field_count++;
        p->in_value = false;
    }
    p->fields[p->field_count - 1].name_len += (uint32_t)n;
    return add_head(p, at, n);
}

static int on_value(llhttp_t *http, const char *at, size_t n)
{
    struct parser *p = owner(http);
    if (!p->in_head || p->field_count == 0)
        return 0;
    /* A value in two pieces is one cut by the end of a feed, or a folded line. */
    if (p->in_value && !(p->value_reaches_end && at == p->feed_begin))
        p->folded = true;
    p->value_reaches_end = at + n == p->feed_end;
    if (!p->in_value) {
        p->fields[p->field_count - 1].value = (uint32_t)buf_len(&p->head);
        p->in_value = true;
    }
    p->fields[p->field_count - 1].value_len += (uint32_t)n;
    return add_head(p, at, n);
}

/* An empty value brings no on_value call; the next name must still start a new field. */
static int on_value_complete(llhttp_t *http)
{
    owner(http)->in_value = true;
    return 0;
}

/* llhttp lets a space before the colon pass, and joins folded lines; both have been used to make two
 * parsers disagree about a message. */
static bool unambiguous(struct http_header field)
{
    for (size_t i = 0; i < field.name.len; i++)
        if (field.name.p[i] == ' ' || field.name.p[i] == '\t')
            return false;
    return str_find(field.value, '\r') == field.value.len &&
           str_find(field.value, '\n') == field.value.len;
}

static int on_headers_complete(llhttp_t *http)
{
    struct parser *p = owner(http);
    const char *base = p->head.data ? buf_ptr(&p->head) : "";
    for (size_t i = 0; i < p->field_count; i++) {
        struct str value = {base + p->fields[i].value, p->fields[i].value_len};
        p->list[i].name = (struct str){base + p->fields[i].name, p->fields[i].name_len};
        p->list[i].value = str_trim(value);
        if (p->folded || !unambiguous(p->list[i])) {
            llhttp_set_error_reason(http, "space before a colon, or a folded field");
            return -1;
        }
    }
    p->in_head = false;
    return HPE_PAUSED;
}

static int on_body(llhttp_t *http, const char *at, size_t n)
{
    struct parser *p = owner(http);
    if (n == 0) /* a feed without bytes, only to learn what is complete */
        return 0;
    return p->body(at, n, p->arg) ? 0 : HPE_PAUSED;
}

static int on_message_complete(llhttp_t *http)
{
    owner(http)->message_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

struct parser *parser_new(enum llhttp_type type, bool (*body)(const char *, size_t, void *),
                          void *arg)
{
    struct parser *p = xmalloc(sizeof *p);
    buf_init(&p->head, HTTP_HEAD_BYTES_MAX);
    llhttp_init(&p->http, type, &settings);
    p->http.data = p;
    p->body = body;
    p->arg = arg;
    parser_reset(p);
    return p;
}

void parser_free(struct parser *p)
{
    if (!p)
        return;
    buf_done(&p->head);
    free(p);
}

void parser_reset(struct parser *p)
{
    llhttp_init(&p->http, (llhttp_type_t)p->http.type, &settings);
    p->http.data = p;
    if (p->head.capacity > 8192)
        buf_done(&p->head);
    buf_clear(&p->head);
    p->url_end = p->field_count = 0;
    p->in_head = true;
    p->in_value = p->message_done = p->too_large = p->folded = p->value_reaches_end = false;
}

enum parser_stop parser_feed(struct parser *p, const char *bytes, size_t n, size_t *ret_used)
{
    bool was_head = p->in_head;
    p->feed_begin = bytes;
    p->feed_end = bytes + n;
    if (llhttp_get_errno(&p->http) == HPE_PAUSED)
        llhttp_resume(&p->http);
    enum llhttp_errno error = llhttp_execute(&p->http, bytes, n);
    *ret_used = error == HPE_OK ? n : (size_t)(llhttp_get_error_pos(&p->http) - bytes);
    switch ((int)error) {
    case HPE_OK:
        return PARSER_MORE;
    case HPE_PAUSED:
        if (was_head && !p->in_head)
            return PARSER_HEAD;
        return p->message_done ? PARSER_MESSAGE : PARSER_PAUSED;
    case HPE_PAUSED_UPGRADE:
        return PARSER_UPGRADE;
    default:
        return p->too_large ? PARSER_TOO_LARGE : PARSER_ERROR;
    }
}

enum parser_stop parser_finish(struct parser *p)
{
    if (llhttp_get_errno(&p->http) == HPE_PAUSED)
        llhttp_resume(&p->http);
    enum llhttp_errno error = llhttp_finish(&p->http);
    return p->message_done && (error == HPE_OK || error == HPE_PAUSED) ? PARSER_MESSAGE
                                                                       : PARSER_ERROR;
}

const char *parser_error(const struct parser *p)
{
    const char *reason = llhttp_get_error_reason(&p->http);
    return reason && *reason ? reason : "malformed message";
}

void parser_skip_body(struct parser *p)
{
    p->http.flags |= F_SKIPBODY;
}

void parser_set_upgrade(struct parser *p)
{
    p->http.upgrade = 1;
}

struct http_headers parser_headers(struct parser *p)
{
    return (struct http_headers){p->list, p->field_count};
}

struct str parser_url(const struct parser *p)
{
    return (struct str){p->url_end ? buf_ptr(&p->head) : "", p->url_end};
}

int64_t parser_content_length(const struct parser *p)
{
    if (p->http.flags & F_CHUNKED)
        return -1;
    if (p->http.flags & F_CONTENT_LENGTH)
        return p->http.content_length > INT64_MAX ? INT64_MAX : (int64_t)p->http.content_length;
    return p->http.type == HTTP_REQUEST ? 0 : -1;
}
