/* SPDX-License-Identifier: Apache-2.0 */
/* Writing tar heads. */
#include "agent/tar.h"

#include <errno.h>
#include <stdio.h>

#include "agent/tar-internal.h"
#include "base/mem.h"

/* Octal, with the NUL that ends it. False: no room. */
static bool put_octal(char *field, size_t size, uint64_t value)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%0*llo", (int)size - 1, (unsigned long long)value);
    if (n >= (int)size)
        return false;
    memcpy(field, text, size);
    return true;
}

/* The name as one field, or cut at a slash into prefix and name. False: no room. */
static bool put_name(struct tar_block *b, struct str path)
{
    if (path.len <= sizeof b->name) {
        memcpy(b->name, path.p, path.len);
        return true;
    }
    if (path.len > sizeof b->prefix + 1 + sizeof b->name)
        return false;
    for (size_t cut = path.len - sizeof b->name - 1; cut <= sizeof b->prefix && cut < path.len - 1;
         cut++) {
        if (path.p[cut] != '/' || cut == 0)
            continue;
        memcpy(b->prefix, path.p, cut);
        memcpy(b->name, path.p + cut + 1, path.len - cut - 1);
        return true;
    }
    return false;
}

static void seal(struct tar_block *b)
{
    memcpy(b->magic, "ustar", 6);
    memcpy(b->version, "00", 2);
    snprintf(b->checksum, sizeof b->checksum, "%06o", tar_checksum(b));
    b->checksum[7] = ' ';
}

/* "LENGTH KEY=VALUE\n", the length counting itself. */
static int put_record(struct buf *out, const char *key, struct str value)
{
    size_t rest = strlen(key) + value.len + 3, total = rest;
    for (size_t digits = 0, n; digits < 20; digits = n) {
        n = (size_t)snprintf(NULL, 0, "%zu", rest + digits);
        total = rest + n;
        if (n == digits)
            break;
    }
    int r = buf_printf(out, "%zu %s=", total, key);
    r = r ? r : buf_append_str(out, value);
    return r ? r : buf_append_char(out, '\n');
}

static int put_number_record(struct buf *out, const char *key, long long value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", value);
    return put_record(out, key, str_from(text));
}

int tar_put_padding(struct buf *out, uint64_t size)
{
    size_t n = (size_t)(-size % TAR_BLOCK);
    char *room = buf_reserve(out, n);
    if (!room)
        return -ENOBUFS;
    memset(room, 0, n);
    buf_added(out, n);
    return 0;
}

static int put_extended(struct buf *out, struct str records)
{
    struct tar_block b = {.type = TAR_PAX};
    memcpy(b.name, "././@PaxHeader", 14);
    put_octal(b.mode, sizeof b.mode, 0644);
    put_octal(b.uid, sizeof b.uid, 0);
    put_octal(b.gid, sizeof b.gid, 0);
    put_octal(b.size, sizeof b.size, records.len);
    put_octal(b.mtime, sizeof b.mtime, 0);
    seal(&b);
    int r = buf_append(out, &b, sizeof b);
    r = r ? r : buf_append_str(out, records);
    return r ? r : tar_put_padding(out, records.len);
}

int tar_put_head(struct buf *out, const struct tar_entry *e)
{
    struct tar_block b = {.type = (char)e->type};
    struct buf records, path;
    int r = 0;
    buf_init(&records, TAR_EXTENDED_MAX);
    buf_init(&path, TAR_PATH_MAX + 8);
    r = buf_append_str(&path, e->path);
    if (r == 0 && e->type == TAR_DIR)
        r = buf_append_char(&path, '/');
    if (r == 0 && !put_name(&b, buf_str(&path)))
        r = put_record(&records, "path", buf_str(&path));
    if (e->link.len <= sizeof b.link)
        memcpy(b.link, e->link.p, e->link.len);
    else if (r == 0)
        r = put_record(&records, "linkpath", e->link);
    put_octal(b.mode, sizeof b.mode, e->mode);
    if (r == 0 && !put_octal(b.uid, sizeof b.uid, e->uid))
        r = put_number_record(&records, "uid", e->uid);
    if (r == 0 && !put_octal(b.gid, sizeof b.gid, e->gid))
        r = put_number_record(&records, "gid", e->gid);
    if (r == 0 && !put_octal(b.size, sizeof b.size, e->size))
        r = put_number_record(&records, "size", (long long)e->size);
    if (r == 0 && (e->mtime < 0 || !put_octal(b.mtime, sizeof b.mtime, (uint64_t)e->mtime)))
        r = put_number_record(&records, "mtime", e->mtime);
    if (r == 0 && buf_len(&records))
        r = put_extended(out, buf_str(&records));
    seal(&b);
    r = r ? r : buf_append(out, &b, sizeof b);
    buf_done(&records);
    buf_done(&path);
    return r;
}

int tar_put_end(struct buf *out)
{
    static const char zeros[2 * TAR_BLOCK];
    return buf_append(out, zeros, sizeof zeros);
}
