/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of files, and its header field: `sha-256=:<base64>:` (RFC 9530, Repr-Digest). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum { SHA256_SIZE = 32, SHA256_FIELD_SIZE = 64 };

struct sha256;

struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *s, const void *p, size_t n);
/* Of all that was added; begins anew. */
void sha256_finish(struct sha256 *s, unsigned char out[SHA256_SIZE]);
void sha256_free(struct sha256 *s);

/* The field's value, NUL-terminated. */
void sha256_field(const unsigned char digest[SHA256_SIZE], char out[SHA256_FIELD_SIZE]);
/* Reads Repr-Digest: 1 when a sha-256 is in it, 0 when there are only others, -EINVAL when it is
 * malformed. */
int sha256_field_parse(struct str value, unsigned char out[SHA256_SIZE]);
/* Whether Want-Repr-Digest asks for it ("sha-256=5", preference 0 to 10, 0: not). */
bool sha256_wanted(struct str value);
