/* SPDX-License-Identifier: Apache-2.0 */
/* Splits a multipart/form-data body into parts as it arrives; knows nothing of files. */
#include "http/multipart.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"

enum {
    BOUNDARY_MAX = 70,    /* RFC 2046 5.1.1 */
    PADDING_MAX = 32,     /* spaces tolerated between a boundary and its line end */
    HEAD_MAX = 32 * 1024, /* a part's head: a path of PATH_MAX bytes, escaped, fits easily */
};

enum state {
    PREAMBLE, /* before the first boundary: dropped */
    HEAD,
    CONTENT,
    AFTER,    /* right behind a boundary: is it one, and the last one? */
    EPILOGUE, /* behind the last boundary: dropped */
    FAILED,
};

struct multipart {
    const struct multipart_events *events;
    void *arg;
    enum state state;
    bool in_part;                     /* part() was called, part_end() not yet */
    char delimiter[BOUNDARY_MAX + 4]; /* CRLF "--" boundary */
    size_t delimiter_len;
    size_t matched;         /* bytes of the delimiter seen and held back (PREAMBLE, CONTENT) */
    char tail[PADDING_MAX]; /* AFTER: what followed the delimiter so far */
    size_t tail_len;
    struct buf head;
};

/* ---- header parameters ---- */

/* RFC 2045 tspecials: in a quoted string only these are taken as escaped by a backslash, since
 * browsers write backslashes of file names unescaped ("C:\dir") and httpx writes them doubled. */
static bool is_special(char c)
{
    return c && strchr("()<>@,;:\\\"/[]?=", c) != NULL;
}

static int read_quoted(struct str *rest, struct buf *value)
{
    size_t i = 1;
    for (; i < rest->len && rest->p[i] != '"'; i++) {
        if (rest->p[i] == '\\' && i + 1 < rest->len && is_special(rest->p[i + 1]))
            i++;
        if (buf_append_char(value, rest->p[i]) < 0)
            return -ENOBUFS;
    }
    if (i >= rest->len)
        return -EINVAL;
    rest->p += i + 1;
    rest->len -= i + 1;
    return 0;
}

/* Takes the next `; name=value` off the text. 1, 0 at its end, or -EINVAL. */
static int next_parameter(struct str *rest, struct str *name, struct buf *value)
{
    *rest = str_trim(*rest);
    while (rest->len && rest->p[0] == ';')
        *rest = str_trim((struct str){rest->p + 1, rest->len - 1});
    if (!rest->len)
        return 0;
    size_t eq = str_find(*rest, '=');
    if (eq == rest->len)
        return -EINVAL;
    *name = str_trim((struct str){rest->p, eq});
    *rest = str_trim((struct str){rest->p + eq + 1, rest->len - eq - 1});
    buf_clear(value);
    if (rest->len && rest->p[0] == '"') {
        int r = read_quoted(rest, value);
        if (r < 0)
            return r;
    } else {
        size_t end = str_find(*rest, ';');
        struct str plain = str_trim((struct str){rest->p, end});
        if (buf_append_str(value, plain) < 0)
            return -EINVAL;
        rest->p += end;
        rest->len -= end;
    }
    *rest = str_trim(*rest);
    return name->len && (!rest->len || rest->p[0] == ';') ? 1 : -EINVAL;
}

/* The three escapes browsers, httpx and undici use in names, in place. */
static void decode_form_escapes(struct buf *value)
{
    static const struct {
        char hex[2], c;
    } escapes[] = {{{'2', '2'}, '"'}, {{'0', 'D'}, '\r'}, {{'0', 'A'}, '\n'}};
    size_t len = buf_len(value), out = 0;
    char *p = value->data ? value->data + value->begin : NULL;
    for (size_t i = 0; i < len; i++, out++) {
        p[out] = p[i];
        for (size_t e = 0; p[i] == '%' && i + 2 < len && e < ARRAY_SIZE(escapes); e++) {
            if (p[i + 1] == escapes[e].hex[0] &&
                (p[i + 2] & ~0x20) == (escapes[e].hex[1] & ~0x20)) {
                p[out] = escapes[e].c;
                i += 2;
                break;
            }
        }
    }
    buf_truncate(value, out);
}

/* filename*=UTF-8''a%20b (RFC 8187), which some clients write beside or instead of filename. */
static int decode_extended(struct buf *value)
{
    struct str text = buf_str(value), charset, language;
    if (!str_split(&text, '\'', &charset) || !str_split(&text, '\'', &language) ||
        !str_ieqz(charset, "utf-8"))
        return -EINVAL;
    _cleanup_free_ char *out = xmalloc(text.len + 1);
    int64_t n = str_percent_decode(text, false, out);
    if (n < 0)
        return -EINVAL;
    buf_clear(value);
    return buf_append(value, out, (size_t)n);
}

/* ---- a part's head ---- */

struct disposition {
    struct buf name, filename;
    bool has_name, has_filename, extended;
};

static int read_disposition(struct str value, struct disposition *d)
{
    struct str kind, key;
    struct buf text;
    buf_init(&text, HEAD_MAX);
    int r = 0;
    if (!str_split(&value, ';', &kind) || !str_ieqz(str_trim(kind), "form-data"))
        goto out; /* not a form field: a part without a name */
    while ((r = next_parameter(&value, &key, &text)) > 0) {
        bool name = str_ieqz(key, "name"), plain = str_ieqz(key, "filename");
        bool extended = str_ieqz(key, "filename*");
        if ((name && d->has_name) || (plain && d->has_filename && !d->extended) ||
            (extended && (d->extended || decode_extended(&text) < 0))) {
            r = -EINVAL;
            break;
        }
        if (name || plain)
            decode_form_escapes(&text);
        if (name) {
            d->has_name = true;
            buf_append_str(&d->name, buf_str(&text));
        } else if (extended || (plain && !d->extended)) {
            d->has_filename = true;
            d->extended = extended;
            buf_clear(&d->filename);
            buf_append_str(&d->filename, buf_str(&text));
        }
    }
out:
    buf_done(&text);
    return r;
}

static int check_line(struct str line, struct str *name, struct str *value)
{
    size_t colon = str_find(line, ':');
    if (colon == 0 || colon == line.len || line.p[0] == ' ' || line.p[0] == '\t')
        return -EINVAL;
    for (size_t i = 0; i < line.len; i++)
        if (line.p[i] == '\0' || line.p[i] == '\r' || line.p[i] == '\n')
            return -EINVAL;
    *name = str_trim((struct str){line.p, colon});
    *value = str_trim((struct str){line.p + colon + 1, line.len - colon - 1});
    return 0;
}

/* The head is complete, its last empty line included: reads it and tells the owner. */
static int finish_head(struct multipart *m, struct err *err)
{
    struct str text = buf_str(&m->head), type = {NULL, 0};
    struct disposition d = {.has_name = false};
    buf_init(&d.name, HEAD_MAX);
    buf_init(&d.filename, HEAD_MAX);
    bool seen = false;
    int r = 0;
    while (r == 0 && text.len > 2) {
        size_t end = (size_t)((char *)memmem(text.p, text.len, "\r\n", 2) - text.p);
        struct str line = {text.p, end}, name, value;
        text = (struct str){text.p + end + 2, text.len - end - 2};
        if (check_line(line, &name, &value) < 0) {
            r = err_set(err, ERR_INVALID, 0, "multipart: malformed header line in a part");
        } else if (str_ieqz(name, "Content-Disposition")) {
            if (seen || read_disposition(value, &d) < 0)
                r = err_set(err, ERR_INVALID, 0, "multipart: malformed Content-Disposition");
            seen = true;
        } else if (str_ieqz(name, "Content-Type")) {
            type = value;
        }
    }
    if (r == 0) {
        struct str name = buf_str(&d.name), filename = buf_str(&d.filename);
        m->in_part = true;
        r = m->events->part(name, d.has_filename ? filename : (struct str){NULL, 0}, type, m->arg);
    }
    buf_done(&d.name);
    buf_done(&d.filename);
    buf_done(&m->head);
    m->state = CONTENT;
    m->matched = 0;
    return r;
}

/* ---- the body ---- */

/* Each feed_ function takes bytes at *p and advances it; 0 or negative. */

static int feed_head(struct multipart *m, const char **p, const char *end, struct err *err)
{
    const char *lf = memchr(*p, '\n', (size_t)(end - *p));
    const char *stop = lf ? lf + 1 : end;
    if (buf_append(&m->head, *p, (size_t)(stop - *p)) < 0)
        return err_set(err, ERR_INVALID, 0, "multipart: a part's head is over %d bytes", HEAD_MAX);
    *p = stop;
    struct str head = buf_str(&m->head);
    if (str_eq(head, STR("\r\n")) || str_ends(head, STR("\r\n\r\n")))
        return finish_head(m, err);
    return 0;
}

static int emit(struct multipart *m, const char *p, size_t n)
{
    return m->in_part && n ? m->events->data(p, n, m->arg) : 0;
}

/* Looks for the delimiter. It contains one CR, its first byte: after a mismatch nothing of what
 * matched can begin another one, so what was held back is content and the search goes on here. */
static int feed_content(struct multipart *m, const char **p, const char *end)
{
    const char *from = *p;
    while (*p < end) {
        if (m->matched == 0) {
            const char *cr = memchr(*p, '\r', (size_t)(end - *p));
            *p = cr ? cr + 1 : end;
            m->matched = cr ? 1 : 0;
            continue;
        }
        if (**p == m->delimiter[m->matched]) {
            (*p)++;
            if (++m->matched < m->delimiter_len)
                continue;
            m->state = AFTER;
            m->tail_len = 0;
            break;
        }
        size_t before = (size_t)(*p - from);
        if (m->matched > before) { /* part of it came with an earlier piece and is gone */
            int r = emit(m, m->delimiter, m->matched - before);
            if (r < 0)
                return r;
        }
        m->matched = 0;
    }
    size_t n = (size_t)(*p - from);
    return n > m->matched ? emit(m, from, n - m->matched) : 0;
}

/* What looked like a delimiter goes on as something else ("--boundaryX"): it is content. */
static int not_a_boundary(struct multipart *m)
{
    bool cr = m->tail_len && m->tail[m->tail_len - 1] == '\r';
    /* A preamble's first line has a virtual CRLF before it, but nothing of it is shown. */
    int r = emit(m, m->delimiter, m->delimiter_len);
    if (r == 0)
        r = emit(m, m->tail, m->tail_len - cr);
    m->matched = cr ? 1 : 0;
    m->state = m->in_part ? CONTENT : PREAMBLE;
    return r;
}

static int feed_after(struct multipart *m, const char **p)
{
    char c = **p, last = m->tail_len ? m->tail[m->tail_len - 1] : 0;
    bool dash = c == '-' && (m->tail_len == 0 || (m->tail_len == 1 && last == '-'));
    bool blank = (c == ' ' || c == '\t') && last != '-' && last != '\r';
    bool line_end = (c == '\r' && last != '-' && last != '\r') || (c == '\n' && last == '\r');
    if ((!dash && !blank && !line_end) || m->tail_len == sizeof m->tail)
        return not_a_boundary(m); /* this byte is looked at again */
    (*p)++;
    m->tail[m->tail_len++] = c;
    bool over = dash && m->tail_len == 2;
    if (!over && c != '\n')
        return 0;
    m->state = over ? EPILOGUE : HEAD;
    bool ended = m->in_part;
    m->in_part = false;
    return ended ? m->events->part_end(m->arg) : 0;
}

int multipart_feed(struct multipart *m, const char *p, size_t n, struct err *err)
{
    const char *end = p + n;
    int r = 0;
    while (r >= 0 && p < end) {
        switch (m->state) {
        case PREAMBLE:
        case CONTENT:
            r = feed_content(m, &p, end);
            break;
        case HEAD:
            r = feed_head(m, &p, end, err);
            break;
        case AFTER:
            r = feed_after(m, &p);
            break;
        case EPILOGUE:
            return 0;
        case FAILED:
            return err_set(err, ERR_INVALID, 0, "multipart: fed after a failure");
        }
    }
    if (r < 0)
        m->state = FAILED;
    return r < 0 ? r : 0;
}

int multipart_finish(struct multipart *m, struct err *err)
{
    if (m->state == EPILOGUE)
        return 0;
    return err_set(err, ERR_INVALID, 0, "multipart: %s",
                   m->state == PREAMBLE ? "the boundary does not occur in the body"
                                        : "the closing boundary is missing");
}

static int check_boundary(struct str b)
{
    if (b.len == 0 || b.len > BOUNDARY_MAX || b.p[b.len - 1] == ' ')
        return -EINVAL;
    for (size_t i = 0; i < b.len; i++)
        if (b.p[i] < 0x20 || b.p[i] > 0x7e)
            return -EINVAL;
    return 0;
}

int multipart_open(struct str content_type, const struct multipart_events *events, void *arg,
                   struct multipart **ret, struct err *err)
{
    struct str kind = {NULL, 0}, key;
    if (!str_split(&content_type, ';', &kind) || !str_ieqz(str_trim(kind), "multipart/form-data"))
        return err_set(err, ERR_INVALID, 0, "multipart: not multipart/form-data");
    struct buf value, boundary;
    buf_init(&value, 1024);
    buf_init(&boundary, 1024);
    int found = 0, r;
    while ((r = next_parameter(&content_type, &key, &value)) > 0)
        if (str_ieqz(key, "boundary") && found++ == 0)
            buf_append_str(&boundary, buf_str(&value));
    if (r < 0)
        r = err_set(err, ERR_INVALID, 0, "multipart: malformed Content-Type");
    else if (found != 1)
        r = err_set(err, ERR_INVALID, 0, "multipart: %s",
                    found ? "more than one boundary given" : "no boundary given");
    else if (check_boundary(buf_str(&boundary)) < 0)
        r = err_set(err, ERR_INVALID, 0, "multipart: the boundary must be 1 to %d printable bytes",
                    BOUNDARY_MAX);
    if (r == 0) {
        struct multipart *m = xcalloc(1, sizeof *m);
        m->events = events;
        m->arg = arg;
        m->matched = 2; /* the first boundary may open the body, without CRLF before it */
        memcpy(m->delimiter, "\r\n--", 4);
        memcpy(m->delimiter + 4, buf_ptr(&boundary), buf_len(&boundary));
        m->delimiter_len = 4 + buf_len(&boundary);
        buf_init(&m->head, HEAD_MAX);
        *ret = m;
    }
    buf_done(&value);
    buf_done(&boundary);
    return r;
}

void multipart_free(struct multipart *m)
{
    if (!m)
        return;
    buf_done(&m->head);
    free(m);
}
