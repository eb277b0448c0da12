/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of an /execute answer. */
#include "interpreter/event.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"

/* ---- text ---- */

/* Length of the UTF-8 character at p and its code point; 0 when there is none. */
static size_t decode(const unsigned char *p, size_t n, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] >= 0xf0 && p[0] < 0xf5   ? 4
                 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                                               : 0;
    if (len == 0 || len > n)
        return 0;
    uint32_t c = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *ret = c;
    return len;
}

static void append_escaped(struct buf *out, uint32_t c)
{
    switch (c) {
    case '"':
        buf_append(out, "\\\"", 2);
        break;
    case '\\':
        buf_append(out, "\\\\", 2);
        break;
    case '\n':
        buf_append(out, "\\n", 2);
        break;
    case '\r':
        buf_append(out, "\\r", 2);
        break;
    case '\t':
        buf_append(out, "\\t", 2);
        break;
    default:
        if (c >= 0x10000) {
            c -= 0x10000;
            buf_printf(out, "\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
        } else {
            buf_printf(out, "\\u%04x", c);
        }
    }
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

void event_append_text(struct buf *out, struct str text)
{
    const unsigned char *p = (const unsigned char *)text.p;
    buf_append_char(out, '"');
    for (size_t i = 0; i < text.len;) {
        size_t begin = i;
        while (i < text.len && plain(p[i]))
            i++;
        buf_append(out, p + begin, i - begin);
        if (i == text.len)
            break;
        uint32_t c = p[i];
        size_t n = 1;
        if (c >= 0x80 && (n = decode(p + i, text.len - i, &c)) == 0) {
            c = 0xfffd;
            n = 1;
        }
        append_escaped(out, c);
        i += n;
    }
    buf_append_char(out, '"');
}

/* ---- lines ---- */

static void append_value(struct buf *out, const json_t *value)
{
    if (json_is_string(value)) {
        event_append_text(out, (struct str){json_string_value(value), json_string_length(value)});
        return;
    }
    _cleanup_free_ char *text =
        json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    buf_append_z(out, text ? text : "null");
}

static void append_member(struct buf *out, const char *name, const json_t *value)
{
    buf_append_char(out, ',');
    event_append_text(out, str_from(name));
    buf_append_char(out, ':');
    append_value(out, value);
}

void event_count(struct buf *out, json_int_t execution_count)
{
    buf_printf(out, "{\"type\":\"number_of_executions\",\"execution_count\":%lld}\n",
               (long long)execution_count);
}

void event_output(struct buf *out, bool is_stderr, struct str text)
{
    char now[CLOCK_TEXT_SIZE];
    clock_format(clock_wall_ns(), 6, now);
    buf_printf(out, "{\"type\":\"%s\",\"text\":", is_stderr ? "stderr" : "stdout");
    event_append_text(out, text);
    buf_printf(out, ",\"timestamp\":\"%s\"}\n", now);
}

static const struct {
    const char *mime, *key;
} known[] = {
    {"text/html", "html"},
    {"text/markdown", "markdown"},
    {"text/latex", "latex"},
    {"image/svg+xml", "svg"},
    {"image/png", "png"},
    {"image/jpeg", "jpeg"},
    {"application/pdf", "pdf"},
    {"application/json", "json"},
    {"application/javascript", "javascript"},
    {"e2b/data", "data"},
    {"e2b/chart", "chart"},
};

static const char *known_key(const char *mime)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcmp(known[i].mime, mime) == 0)
            return known[i].key;
    return NULL;
}

/* A string's repr is shown as the string: the pair of quotes around it goes. */
static void append_plain_text(struct buf *out, const json_t *value)
{
    struct str s = {json_string_value(value), json_string_length(value)};
    if (s.len >= 2 && s.p[0] == s.p[s.len - 1] && (s.p[0] == '\'' || s.p[0] == '"'))
        s = (struct str){s.p + 1, s.len - 2};
    buf_append_z(out, ",\"text\":");
    event_append_text(out, s);
}

void event_result(struct buf *out, const json_t *bundle, bool is_main)
{
    const char *mime;
    json_t *value, *all = (json_t *)bundle; /* iterated only */
    json_t *extra = json_object();
    buf_printf(out, "{\"type\":\"result\",\"is_main_result\":%s", is_main ? "true" : "false");
    json_object_foreach (all, mime, value) {
        const char *key = known_key(mime);
        if (strcmp(mime, "text/plain") == 0 && json_is_string(value))
            append_plain_text(out, value);
        else if (key)
            append_member(out, key, value);
        else
            json_object_set(extra, mime, value);
    }
    append_member(out, "extra", extra);
    buf_append_z(out, "}\n");
    json_decref(extra);
}

void event_error(struct buf *out, struct str name, struct str value, struct str traceback)
{
    buf_append_z(out, "{\"type\":\"error\",\"name\":");
    event_append_text(out, name);
    buf_append_z(out, ",\"value\":");
    event_append_text(out, value);
    buf_append_z(out, ",\"traceback\":");
    event_append_text(out, traceback);
    buf_append_z(out, "}\n");
}

void event_keepalive(struct buf *out)
{
    buf_append_z(out, "{\"type\":\"keepalive\"}\n");
}

void event_end(struct buf *out)
{
    buf_append_z(out, "{\"type\":\"end_of_execution\"}\n");
}
