/* SPDX-License-Identifier: Apache-2.0 */
/* JSON strings written straight into a buffer: for answers that are too large or too hot for a tree
 * of values. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

/* Appends the text as a quoted JSON string. File names may hold any bytes and JSON only UTF-8: each
 * byte that is not part of a character becomes U+FFFD, one for one, so that nothing is dropped. 0 or
 * -ENOBUFS (then part of it may have been appended). */
int json_text_append(struct buf *out, struct str text);
