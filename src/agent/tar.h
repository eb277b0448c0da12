/* SPDX-License-Identifier: Apache-2.0 */
/* The tar format: writing ustar with pax records where ustar has no room, reading ustar, pax, GNU and
 * the old format, as a stream. Knows no files: what an entry is allowed to be is the reader's owner's
 * business.
 *
 * Reading. Names of any bytes but NUL; sizes to 2^63; a header's checksum must be right; the two blocks
 * of zeros must end the archive, what follows them is ignored. Refused as malformed: sparse files,
 * continued volumes, links with content, pax headers above TAR_EXTENDED_MAX. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    TAR_BLOCK = 512,
    TAR_EXTENDED_MAX = 256 << 10, /* bytes of one entry's pax records or long names */
    TAR_HEAD_MAX = 3 * TAR_BLOCK + 2 * 65536 + 2048, /* what tar_put_head appends at most */
    TAR_PATH_MAX = 65536,                            /* of a name or a link's target */
};

enum tar_type {
    TAR_FILE = '0',
    TAR_HARD_LINK = '1',
    TAR_SYMLINK = '2',
    TAR_CHAR_DEVICE = '3',
    TAR_BLOCK_DEVICE = '4',
    TAR_DIR = '5',
    TAR_FIFO = '6',
};

struct tar_entry {
    enum tar_type type;
    struct str
        path; /* without what the type adds ("d/" for a directory) when written; as sent when read */
    struct str link; /* of links */
    uint64_t size;   /* of files */
    uint32_t mode;   /* 07777 */
    uint32_t uid, gid;
    int64_t mtime;
    uint32_t mtime_ns;
};

/* Appends an entry's head; its content follows, then tar_put_padding. 0 or -ENOBUFS. Fractions of a
 * second are not written. */
int tar_put_head(struct buf *out, const struct tar_entry *entry);
int tar_put_padding(struct buf *out, uint64_t size);
int tar_put_end(struct buf *out);

struct tar_events {
    /* Texts are valid during the call. Each returns 0, or negative to stop the reader. */
    int (*entry)(const struct tar_entry *entry, void *arg);
    int (*data)(const char *p, size_t n, void *arg);
    int (*entry_end)(void *arg);
};

struct tar_reader;
struct tar_reader *tar_reader_new(const struct tar_events *events, void *arg);
/* 0, a callback's negative return, or -EINVAL with *err for what is no tar. */
int tar_reader_feed(struct tar_reader *r, const char *p, size_t n, struct err *err);
/* -EINVAL when the archive is cut. */
int tar_reader_finish(struct tar_reader *r, struct err *err);
void tar_reader_free(struct tar_reader *r);
