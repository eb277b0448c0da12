/* SPDX-License-Identifier: Apache-2.0 */
/* The tar reader, in pieces of any size: what it says of an entry holds, contents are as long as it
 * said, and what it has read can be written and read again as the same. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/tar-internal.h"
#include "base/tar.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    bool open;
    uint64_t left;
    struct buf *copy; /* the same entries without content, written anew; NULL: compare only */
    unsigned entries;
    uint64_t digest; /* of all that an entry says */
};

static void mix(struct seen *s, const void *p, size_t n)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < n; i++)
        s->digest = (s->digest ^ bytes[i]) * UINT64_C(0x100000001b3);
}

static int on_entry(const struct tar_entry *e, void *arg)
{
    struct seen *s = arg;
    assert(!s->open && e->mode <= 07777 && e->size <= INT64_MAX);
    assert(e->type >= TAR_FILE && e->type <= TAR_FIFO && e->mtime_ns < 1000000000);
    assert(e->type == TAR_FILE || e->size == 0);
    assert(e->path.len <= TAR_PATH_MAX && !memchr(e->path.p, '\0', e->path.len));
    assert(e->link.len <= TAR_PATH_MAX && !memchr(e->link.p, '\0', e->link.len));
    s->open = true;
    s->left = e->size;
    s->entries++;
    struct tar_entry again = *e;
    again.size = 0;
    while (again.path.len > 1 && again.path.p[again.path.len - 1] == '/')
        again.path.len--;
    if (again.path.len == 0 || again.path.len > TAR_PATH_MAX - 1)
        return -1;
    mix(s, again.path.p, again.path.len);
    mix(s, again.link.p, again.link.len);
    mix(s, &again.mode, sizeof again.mode);
    mix(s, &again.uid, sizeof again.uid);
    mix(s, &again.mtime, sizeof again.mtime);
    if (s->copy && tar_put_head(s->copy, &again) < 0)
        return -1;
    return 0;
}

static int on_data(const char *p, size_t n, void *arg)
{
    struct seen *s = arg;
    assert(s->open && n > 0 && n <= s->left);
    s->left -= n;
    return 0;
}

static int on_entry_end(void *arg)
{
    struct seen *s = arg;
    assert(s->open && s->left == 0);
    s->open = false;
    return 0;
}

static const struct tar_events events = {on_entry, on_data, on_entry_end};

static int read_all(struct seen *s, const char *p, size_t n, size_t piece)
{
    struct err err;
    struct tar_reader *r = tar_reader_new(&events, s);
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < n; at += piece)
        rc = tar_reader_feed(r, p + at, n - at < piece ? n - at : piece, &err);
    if (rc == 0)
        rc = tar_reader_finish(r, &err);
    tar_reader_free(r);
    return rc;
}

/* Makes the checksum of each block right that looks like a head: mutations do not find it. */
static void repair(char *archive, size_t size)
{
    for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
        struct tar_block b;
        memcpy(&b, archive + at, sizeof b);
        if (memcmp(b.magic, "ustar", 5) != 0)
            continue;
        snprintf(b.checksum, sizeof b.checksum, "%06o", tar_checksum(&b) & 0777777);
        memcpy(archive + at, &b, sizeof b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    _cleanup_free_ char *archive = xmalloc(size);
    memcpy(archive, data + 1, size - 1);
    if (data[0] & 0x80)
        repair(archive, size - 1);
    struct buf copy;
    buf_init(&copy, 64 << 20);
    struct seen seen = {.copy = &copy}, again = {0}, whole = {0};
    int rc = read_all(&seen, archive, size - 1, data[0] % 64u * 37 + 1);
    assert(read_all(&whole, archive, size - 1, size) == rc);
    if (rc == 0) {
        assert(whole.entries == seen.entries && whole.digest == seen.digest);
        assert(tar_put_end(&copy) == 0);
        struct str text = buf_str(&copy);
        assert(read_all(&again, text.p, text.len, text.len) == 0);
        assert(again.entries == seen.entries && again.digest == seen.digest);
    }
    buf_done(&copy);
    return 0;
}
