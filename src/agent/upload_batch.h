/* SPDX-License-Identifier: Apache-2.0 */
/* What one POST /files does, apart from the waiting: bytes of the body in, files and an answer out.
 * gzip, multipart and writing are one synchronous chain, so all of it can run in a worker.
 *
 * Files become visible when the whole body has proven sound (multipart closed, gzip's checksum right,
 * framing complete), so that a cut request changes nothing. With more than UPLOAD_BATCH_PENDING files
 * the oldest are put in place earlier: a request of any number of files holds few descriptors. */
#pragma once

#include "agent/file_query.h"
#include "agent/etag.h"
#include "agent/upload_terms.h"

enum {
    UPLOAD_BATCH_PENDING = 64,
    UPLOAD_BATCH_FILES = 65536, /* in one request; more is refused */
};

struct upload_batch;

/* Reads the request's head. query is borrowed until upload_batch_free. 0, or an HTTP status and *err. */
int upload_batch_open(const struct http_request *request, const struct file_query *query,
                      struct upload_batch **ret, struct err *err);
/* Takes some of the body. 0, or the HTTP status to answer with and *err; the batch takes no more then. */
int upload_batch_feed(struct upload_batch *b, const char *p, size_t n, struct err *err);
/* The body is complete: puts the files in place. Results as above. */
int upload_batch_finish(struct upload_batch *b, struct err *err);
/* The JSON answer after a finish. Valid as long as the batch. */
struct str upload_batch_answer(const struct upload_batch *b);
/* The same for the answer's fields, when it was exactly one file: ETag, and Repr-Digest ("" when it was
 * not wanted). */
bool upload_batch_tag(const struct upload_batch *b, char etag[ETAG_SIZE],
                      char digest[SHA256_FIELD_SIZE]);
/* A measure of the work done so far, in bytes written with something added for every file. */
size_t upload_batch_cost(const struct upload_batch *b);
bool upload_batch_is_gzip(const struct upload_batch *b);
/* Files not yet in place never were. NULL is fine. */
void upload_batch_free(struct upload_batch *b);
