/* SPDX-License-Identifier: Apache-2.0 */
/* File metadata in extended attributes. */
#include "agent/metadata.h"

#include <errno.h>
#include <limits.h>
#include <sys/xattr.h>

#include "base/json_text.h"
#include "base/mem.h"
#include "base/utf8.h"

static const char field_prefix[] = "X-Metadata-";

static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e)
            return false;
    return true;
}

static int check_item(const struct metadata *m, struct str key, struct str value, struct err *err)
{
    int shown = key.len > 60 ? 60 : (int)key.len;
    if (key.len == 0)
        return err_set(err, ERR_INVALID, 0, "metadata: a key is empty");
    if (key.len > METADATA_KEY_MAX)
        return err_set(err, ERR_INVALID, 0, "metadata: key '%.*s...' is longer than %d bytes",
                       shown, key.p, METADATA_KEY_MAX);
    if (!is_printable(key) || !is_printable(value))
        return err_set(err, ERR_INVALID, 0, "metadata: '%.*s' is not printable ASCII", shown,
                       key.p);
    for (size_t i = 0; i < m->count; i++)
        if (str_ieqz(key, m->items[i].name + strlen(METADATA_PREFIX)))
            return err_set(err, ERR_INVALID, 0, "metadata: '%.*s' is given twice", shown, key.p);
    return 0;
}

int metadata_parse(const struct http_headers *headers, struct metadata *ret, struct err *err)
{
    struct metadata m = {0};
    size_t total = 0;
    struct str prefix = {field_prefix, sizeof field_prefix - 1};
    for (size_t i = 0; i < headers->count; i++) {
        struct str name = headers->list[i].name, value = headers->list[i].value;
        if (name.len < prefix.len || !str_ieq((struct str){name.p, prefix.len}, prefix))
            continue;
        struct str key = {name.p + prefix.len, name.len - prefix.len};
        int r = check_item(&m, key, value, err);
        total += strlen(METADATA_PREFIX) + key.len + value.len;
        if (r == 0 && total > METADATA_TOTAL_MAX)
            r = err_set(err, ERR_INVALID, 0, "metadata: more than %d bytes", METADATA_TOTAL_MAX);
        if (r < 0) {
            metadata_done(&m);
            return r;
        }
        m.items = xrealloc(m.items, (m.count + 1) * sizeof *m.items);
        char *full = xasprintf("%s%.*s", METADATA_PREFIX, STR_ARG(key));
        for (char *p = full; *p; p++)
            if (*p >= 'A' && *p <= 'Z')
                *p = (char)(*p | 0x20);
        m.items[m.count++] = (struct metadata_item){full, xstrndup(value.p, value.len)};
    }
    *ret = m;
    return 0;
}

void metadata_done(struct metadata *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->items[i].name);
        free(m->items[i].value);
    }
    free(m->items);
    *m = (struct metadata){0};
}

static int remove_others(int fd, const struct metadata *m)
{
    char names[4096];
    ssize_t len = flistxattr(fd, names, sizeof names);
    for (char *name = names; len > 0 && name < names + len; name += strlen(name) + 1) {
        bool keep = !str_starts(str_from(name), STR(METADATA_PREFIX));
        for (size_t i = 0; i < m->count; i++)
            keep |= strcmp(name, m->items[i].name) == 0;
        if (!keep && fremovexattr(fd, name) < 0 && errno != ENODATA)
            return -errno;
    }
    return 0;
}

int metadata_store(int fd, const struct metadata *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct metadata_item *item = &m->items[i];
        if (fsetxattr(fd, item->name, item->value, strlen(item->value), 0) < 0)
            return errno == EOPNOTSUPP ? 0 : -errno;
    }
    return remove_others(fd, m);
}

static int append_pair(struct buf *out, bool first, const char *name, struct str value)
{
    int r = buf_append_z(out, first ? ",\"metadata\":{" : ",");
    if (r == 0)
        r = json_text_append(out, str_from(name + strlen(METADATA_PREFIX)));
    if (r == 0)
        r = buf_append_char(out, ':');
    return r == 0 ? json_text_append(out, value) : r;
}

int metadata_append(struct buf *out, const struct metadata *m)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->count; i++)
        r = append_pair(out, i == 0, m->items[i].name, str_from(m->items[i].value));
    return r == 0 && m->count ? buf_append_char(out, '}') : r;
}

static int append_attribute(struct buf *out, const char *path, const char *name, bool *first)
{
    char small[256];
    _cleanup_free_ char *large = NULL;
    struct str text = {small, 0};
    ssize_t len = getxattr(path, name, small, sizeof small);
    if (len < 0 && errno == ERANGE) {
        text.p = large = xmalloc(XATTR_SIZE_MAX);
        len = getxattr(path, name, large, XATTR_SIZE_MAX);
    }
    text.len = len > 0 ? (size_t)len : 0;
    if (len < 0 || !utf8_valid(text) || !utf8_valid(str_from(name)))
        return 0;
    int r = append_pair(out, *first, name, text);
    *first = false;
    return r;
}

int metadata_append_file(struct buf *out, const char *path)
{
    char small[512];
    _cleanup_free_ char *large = NULL;
    char *names = small;
    ssize_t len = listxattr(path, small, sizeof small);
    if (len < 0 && errno == ERANGE) {
        names = large = xmalloc(XATTR_LIST_MAX);
        len = listxattr(path, large, XATTR_LIST_MAX);
    }
    bool first = true;
    int r = 0;
    for (char *name = names; r == 0 && len > 0 && name < names + len; name += strlen(name) + 1)
        if (str_starts(str_from(name), STR(METADATA_PREFIX)) && name[strlen(METADATA_PREFIX)])
            r = append_attribute(out, path, name, &first);
    return r == 0 && !first ? buf_append_char(out, '}') : r;
}
