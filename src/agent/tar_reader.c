/* SPDX-License-Identifier: Apache-2.0 */
/* Reading tar as it comes. */
#include <errno.h>
#include <stdio.h>

#include "agent/tar-internal.h"
#include "agent/tar.h"
#include "base/mem.h"

enum state { HEAD, CONTENT, EXTENDED, PADDING, END };

/* What came before a head and holds for it. */
struct extended {
    struct buf path, link; /* of pax records or GNU's long names; empty: not given */
    bool has_size, has_uid, has_gid, has_mtime;
    uint64_t size, uid, gid;
    int64_t mtime;
    uint32_t mtime_ns;
};

struct tar_reader {
    const struct tar_events *events;
    void *arg;
    enum state state;
    char block[TAR_BLOCK];
    size_t have;          /* of the block */
    uint64_t left;        /* of the content, or of the padding */
    uint64_t size;        /* of the content */
    char kind;            /* of what EXTENDED collects */
    bool zeros;           /* the last block was one of zeros */
    struct buf collected; /* EXTENDED's content */
    struct extended next;
};

struct tar_reader *tar_reader_new(const struct tar_events *events, void *arg)
{
    struct tar_reader *r = xcalloc(1, sizeof *r);
    r->events = events;
    r->arg = arg;
    buf_init(&r->collected, TAR_EXTENDED_MAX + 1);
    buf_init(&r->next.path, TAR_PATH_MAX + 1);
    buf_init(&r->next.link, TAR_PATH_MAX + 1);
    return r;
}

void tar_reader_free(struct tar_reader *r)
{
    if (!r)
        return;
    buf_done(&r->collected);
    buf_done(&r->next.path);
    buf_done(&r->next.link);
    free(r);
}

static int malformed(struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID, 0, "malformed tar: %s", what);
}

/* ---- numbers and texts of a block ---- */

/* Octal between spaces and NULs, or base 256 with the first bit set. */
static int read_number(const char *field, size_t size, uint64_t *ret)
{
    const unsigned char *p = (const unsigned char *)field;
    uint64_t value = 0;
    size_t i = 0;
    if (p[0] & 0x80) {
        value = p[0] & 0x7f;
        for (i = 1; i < size; i++) {
            if (value >> 55)
                return -EINVAL;
            value = value << 8 | p[i];
        }
        *ret = value;
        return 0;
    }
    while (i < size && p[i] == ' ')
        i++;
    for (; i < size && p[i] >= '0' && p[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(p[i] - '0'); /* 12 digits at most: fits */
    for (; i < size; i++)
        if (p[i] != ' ' && p[i] != '\0')
            return -EINVAL;
    *ret = value;
    return 0;
}

static struct str text_of(const char *field, size_t size)
{
    return (struct str){field, strnlen(field, size)};
}

static bool is_sound(const struct tar_block *b)
{
    uint64_t sum;
    int by_signed = 8 * ' ';
    const signed char *p = (const signed char *)b;
    for (unsigned i = 0; i < sizeof *b; i++)
        if (i < 148 || i >= 156)
            by_signed += p[i];
    return read_number(b->checksum, sizeof b->checksum, &sum) == 0 &&
           (sum == tar_checksum(b) || (by_signed >= 0 && sum == (uint64_t)by_signed));
}

/* ---- pax records ---- */

static int read_time(struct str value, struct extended *next)
{
    struct str seconds, rest = value;
    bool is_negative = str_starts(value, STR("-"));
    str_split(&rest, '.', &seconds);
    if (str_to_i64(seconds, INT64_MIN / 4, INT64_MAX / 4, &next->mtime) < 0)
        return -EINVAL;
    uint32_t ns = 0, unit = 100000000;
    for (size_t i = 0; rest.p && i < rest.len; i++, unit /= 10) {
        if (rest.p[i] < '0' || rest.p[i] > '9')
            return -EINVAL;
        ns += (uint32_t)(rest.p[i] - '0') * unit;
    }
    if (is_negative && ns) { /* -1.25 is a quarter before -1 */
        next->mtime--;
        ns = 1000000000 - ns;
    }
    next->mtime_ns = ns;
    next->has_mtime = true;
    return 0;
}

static int read_name(struct buf *out, struct str value, struct err *err)
{
    buf_clear(out);
    if (value.len == 0 || memchr(value.p, '\0', value.len))
        return malformed(err, "an empty name, or a NUL in a name");
    return buf_append_str(out, value) < 0 ? malformed(err, "a name is too long") : 0;
}

static int read_record(struct extended *next, struct str key, struct str value, struct err *err)
{
    int r = 0;
    if (str_eqz(key, "path"))
        return read_name(&next->path, value, err);
    if (str_eqz(key, "linkpath"))
        return read_name(&next->link, value, err);
    if (str_starts(key, STR("GNU.sparse.")))
        return malformed(err, "sparse files are not taken");
    if (str_eqz(key, "size")) {
        r = str_to_u64(value, INT64_MAX, &next->size);
        next->has_size = true;
    } else if (str_eqz(key, "uid")) {
        r = str_to_u64(value, UINT32_MAX, &next->uid);
        next->has_uid = true;
    } else if (str_eqz(key, "gid")) {
        r = str_to_u64(value, UINT32_MAX, &next->gid);
        next->has_gid = true;
    } else if (str_eqz(key, "mtime")) {
        r = read_time(value, next);
    }
    return r < 0 ? malformed(err, "a pax record") : 0;
}

/* Global ones may say nothing that we would have to heed. */
static int read_records(struct tar_reader *r, struct err *err)
{
    struct str all = buf_str(&r->collected);
    while (all.len) {
        struct str number, key, rest = all;
        uint64_t len;
        if (!str_split(&rest, ' ', &number) || !rest.p ||
            str_to_u64(number, TAR_EXTENDED_MAX, &len) < 0 || len > all.len ||
            len < number.len + 3 || all.p[len - 1] != '\n')
            return malformed(err, "a pax record");
        struct str value = {rest.p, len - number.len - 2};
        if (!str_split(&value, '=', &key) || !value.p)
            return malformed(err, "a pax record");
        if (r->kind == TAR_PAX_GLOBAL &&
            (str_eqz(key, "path") || str_eqz(key, "linkpath") || str_eqz(key, "size") ||
             str_starts(key, STR("GNU.sparse."))))
            return malformed(err, "a global pax record for every name or size");
        int rc = r->kind == TAR_PAX ? read_record(&r->next, key, value, err) : 0;
        if (rc < 0)
            return rc;
        all = (struct str){all.p + len, all.len - len};
    }
    return 0;
}

static int end_extended(struct tar_reader *r, struct err *err)
{
    struct str text = buf_str(&r->collected);
    if (r->kind == TAR_PAX || r->kind == TAR_PAX_GLOBAL)
        return read_records(r, err);
    text.len = strnlen(text.p, text.len);
    return read_name(r->kind == TAR_GNU_NAME ? &r->next.path : &r->next.link, text, err);
}

/* ---- heads ---- */

static int read_numbers(const struct tar_block *b, const struct extended *next, struct tar_entry *e,
                        struct err *err)
{
    uint64_t mode, uid, gid, size, mtime;
    if (read_number(b->mode, sizeof b->mode, &mode) < 0 ||
        read_number(b->uid, sizeof b->uid, &uid) < 0 ||
        read_number(b->gid, sizeof b->gid, &gid) < 0 ||
        read_number(b->size, sizeof b->size, &size) < 0)
        return malformed(err, "a number");
    if (read_number(b->mtime, sizeof b->mtime, &mtime) < 0 || mtime > INT64_MAX / 4)
        mtime = 0; /* before 1970, in GNU's way */
    e->size = next->has_size ? next->size : size;
    if (next->has_uid)
        uid = next->uid;
    if (next->has_gid)
        gid = next->gid;
    if (e->size > INT64_MAX || uid > UINT32_MAX || gid > UINT32_MAX)
        return malformed(err, "a number out of range");
    e->mode = (uint32_t)mode & 07777;
    e->uid = (uint32_t)uid;
    e->gid = (uint32_t)gid;
    e->mtime = next->has_mtime ? next->mtime : (int64_t)mtime;
    e->mtime_ns = next->has_mtime ? next->mtime_ns : 0;
    return 0;
}

/* joined: room for prefix and name. */
static void read_texts(const struct tar_block *b, struct extended *next, char *joined, size_t size,
                       struct tar_entry *e)
{
    struct str name = text_of(b->name, sizeof b->name);
    struct str prefix = text_of(b->prefix, sizeof b->prefix);
    e->link = buf_len(&next->link) ? buf_str(&next->link) : text_of(b->link, sizeof b->link);
    e->path = name;
    if (buf_len(&next->path)) {
        e->path = buf_str(&next->path);
    } else if (prefix.len && memcmp(b->magic, "ustar", 6) == 0) {
        snprintf(joined, size, "%.*s/%.*s", STR_ARG(prefix), STR_ARG(name));
        e->path = str_from(joined);
    }
}

static int read_type(char type, struct tar_entry *e, struct err *err)
{
    if (type == '\0' || type == '7')
        type = TAR_FILE;
    if (type < TAR_FILE || type > TAR_FIFO) {
        bool shown = type > ' ' && type < 0x7f;
        return err_set(err, ERR_INVALID, 0, "malformed tar: an entry of type '%c' is not taken",
                       shown ? type : '?');
    }
    e->type = (enum tar_type)type;
    /* The old format's directories. */
    if (e->type == TAR_FILE && e->path.len && e->path.p[e->path.len - 1] == '/')
        e->type = TAR_DIR;
    if (e->type != TAR_FILE && e->size)
        return malformed(err, "content of what is no file");
    return 0;
}

static void forget_extended(struct extended *next)
{
    struct buf path = next->path, link = next->link;
    buf_clear(&path);
    buf_clear(&link);
    *next = (struct extended){.path = path, .link = link};
}

static void begin_content(struct tar_reader *r, uint64_t size, enum state state)
{
    r->size = r->left = size;
    r->state = state;
}

/* One block of the archive's own. */
static int take_block(struct tar_reader *r, struct err *err)
{
    struct tar_block b;
    struct tar_entry e = {0};
    char joined[sizeof b.prefix + sizeof b.name + 2];
    static const char zeros[TAR_BLOCK];
    memcpy(&b, r->block, sizeof b);
    if (memcmp(&b, zeros, sizeof b) == 0) {
        r->state = r->zeros ? END : HEAD;
        r->zeros = true;
        return 0;
    }
    if (r->zeros)
        return malformed(err, "an entry behind its end");
    if (!is_sound(&b))
        return malformed(err, "a header's checksum is wrong");
    if (b.type == TAR_PAX || b.type == TAR_PAX_GLOBAL || b.type == TAR_GNU_NAME ||
        b.type == TAR_GNU_LINK) {
        uint64_t size;
        if (read_number(b.size, sizeof b.size, &size) < 0 || size > TAR_EXTENDED_MAX)
            return malformed(err, "an extended header is too long");
        r->kind = b.type;
        buf_clear(&r->collected);
        begin_content(r, size, EXTENDED);
        return 0;
    }
    int rc = read_numbers(&b, &r->next, &e, err);
    read_texts(&b, &r->next, joined, sizeof joined, &e);
    rc = rc ? rc : read_type(b.type, &e, err);
    rc = rc ? rc : r->events->entry(&e, r->arg);
    forget_extended(&r->next);
    begin_content(r, e.size, CONTENT);
    return rc;
}

/* The content is complete: what its state means, then the padding. */
static int end_content(struct tar_reader *r, struct err *err)
{
    int rc = r->state == EXTENDED ? end_extended(r, err) : r->events->entry_end(r->arg);
    begin_content(r, -r->size % TAR_BLOCK, PADDING);
    if (r->left == 0)
        r->state = HEAD;
    return rc;
}

int tar_reader_feed(struct tar_reader *r, const char *p, size_t n, struct err *err)
{
    int rc = 0;
    while (rc == 0 && r->state != END) {
        if ((r->state == CONTENT || r->state == EXTENDED) && r->left == 0) {
            rc = end_content(r, err);
            continue;
        }
        if (n == 0)
            break;
        size_t take = n;
        if (r->state == HEAD) {
            take = take < TAR_BLOCK - r->have ? take : TAR_BLOCK - r->have;
            memcpy(r->block + r->have, p, take);
            r->have = (r->have + take) % TAR_BLOCK;
            if (r->have == 0)
                rc = take_block(r, err);
        } else {
            take = take < r->left ? take : (size_t)r->left;
            r->left -= take;
            if (r->state == CONTENT)
                rc = r->events->data(p, take, r->arg);
            else if (r->state == EXTENDED && buf_append(&r->collected, p, take) < 0)
                rc = malformed(err, "an extended header is too long");
            else if (r->state == PADDING && r->left == 0)
                r->state = HEAD;
        }
        p += take;
        n -= take;
    }
    return rc;
}

int tar_reader_finish(struct tar_reader *r, struct err *err)
{
    /* Some end with one block of zeros. */
    if (r->state == END || (r->zeros && r->state == HEAD && r->have == 0))
        return 0;
    return malformed(err, "it is cut");
}
