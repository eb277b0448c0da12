/* SPDX-License-Identifier: Apache-2.0 */
/* File metadata: X-Metadata-<key> fields of an upload, kept as extended attributes
 * user.e2b.<key in lower case> (protocol.md 3.4). File systems without them: silently none. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/head.h"

#define METADATA_PREFIX "user.e2b."

enum {
    METADATA_KEY_MAX = 246,    /* an attribute's name has 255 bytes, the prefix takes 9 */
    METADATA_TOTAL_MAX = 4096, /* of all names, with prefix, and values */
};

struct metadata_item {
    char *name; /* with the prefix */
    char *value;
};

struct metadata {
    struct metadata_item *items;
    size_t count;
};

/* Takes the fields out of a request's head. 0, or ERR_INVALID when a key is empty, too long or given
 * twice, when something is not printable ASCII, or when all of it is over the limit. */
int metadata_parse(const struct http_headers *headers, struct metadata *ret, struct err *err);
void metadata_done(struct metadata *m);

/* Makes the set of an open file exactly this one. 0 or -errno. */
int metadata_store(int fd, const struct metadata *m);

/* Appends ,"metadata":{…} or nothing if the set is empty. 0 or -ENOBUFS. */
int metadata_append(struct buf *out, const struct metadata *m);
/* The same for what a file has; values that are not UTF-8 are left out. Symlinks are followed. */
int metadata_append_file(struct buf *out, const char *path);
