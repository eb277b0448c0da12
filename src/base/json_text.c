/* SPDX-License-Identifier: Apache-2.0 */
/* JSON strings. */
#include "base/json_text.h"

#include <errno.h>

#include "base/utf8.h"

/* Length of the character at the front of the text, 0 if there is none. */
static size_t character(const char *p, size_t len)
{
    unsigned char c = (unsigned char)*p;
    if (c < 0x80)
        return 1;
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    return n <= len && utf8_valid((struct str){p, n}) ? n : 0;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static int append_escaped(struct buf *out, char c)
{
    if (c == '"' || c == '\\')
        return buf_append(out, (char[]){'\\', c}, 2);
    if (c == '\n')
        return buf_append(out, "\\n", 2);
    return buf_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
}

int json_text_append(struct buf *out, struct str text)
{
    int r = buf_append_char(out, '"');
    for (size_t i = 0; r == 0 && i < text.len;) {
        size_t run = 0;
        while (i + run < text.len && is_plain((unsigned char)text.p[i + run]))
            run++;
        if (run) {
            r = buf_append(out, text.p + i, run);
            i += run;
            continue;
        }
        size_t n = character(text.p + i, text.len - i);
        if (n > 1)
            r = buf_append(out, text.p + i, n);
        else if (n == 1)
            r = append_escaped(out, text.p[i]);
        else
            r = buf_append(out, "\xef\xbf\xbd", 3);
        i += n ? n : 1;
    }
    return r == 0 ? buf_append_char(out, '"') : r;
}
