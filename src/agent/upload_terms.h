/* SPDX-License-Identifier: Apache-2.0 */
/* What an upload asks for beyond the bytes: metadata, and the extensions of docs/wire.md. One set for
 * all files of a request.
 *
 *   query    mode=0755            permission bits of the file, octal
 *            owner=NAME | UID:GID to whom file and new parents belong; only for a request as root
 *            fsync=true           on disk before the answer
 *   fields   If-Match, If-None-Match    written only if the target is so (upload.h)
 *            Repr-Digest          the content's SHA-256, written only if it is
 *            Want-Repr-Digest     have it in the answer */
#pragma once

#include "agent/file_query.h"
#include "agent/metadata.h"
#include "agent/sha256.h"

struct upload_terms {
    struct metadata metadata;
    uid_t uid;
    gid_t gid;
    int mode; /* -1: not given */
    bool sync;
    char *if_match, *if_none_match; /* NULL: no such condition */
    bool digest_given, digest_wanted;
    unsigned char digest[SHA256_SIZE];
};

/* 0, or an HTTP status and *err: 400, or 403 for an owner that the user may not name. */
int upload_terms_read(const struct http_request *request, const struct file_query *query,
                      struct upload_terms *ret, struct err *err);
void upload_terms_done(struct upload_terms *t);
