/* SPDX-License-Identifier: Apache-2.0 */
/* Incremental gzip decoding of request bodies (Content-Encoding: gzip), on zlib. Output goes to a
 * callback in pieces of at most 64 KiB, so a bomb is bounded by what the callback accepts. */
#pragma once

#include <stddef.h>

#include "base/err.h"

struct inflate;

typedef int inflate_out_fn(const char *p, size_t n, void *arg);

struct inflate *inflate_new(inflate_out_fn *out, void *arg);
/* 0, the callback's negative return, or -EINVAL for data that is not gzip. Concatenated members are
 * accepted, as gzip(1) does. */
int inflate_feed(struct inflate *z, const char *p, size_t n, struct err *err);
/* -EINVAL if the stream is cut. */
int inflate_finish(struct inflate *z, struct err *err);
void inflate_free(struct inflate *z);
