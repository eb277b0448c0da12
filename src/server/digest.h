/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, for keys and URL signatures. The only file of the server that knows OpenSSL's digests. */
#pragma once

#include "base/str.h"

enum { DIGEST_SIZE = 32, DIGEST_HEX_SIZE = 65 };

void digest_sha256(struct str text, unsigned char out[DIGEST_SIZE]);
void digest_hex(const unsigned char digest[DIGEST_SIZE], char out[DIGEST_HEX_SIZE]);

/* Many texts with one beginning: the beginning is hashed once, so that trying a signature against
 * every sandbox costs the same for a long path as for a short one. */
struct digest_prefix;
struct digest_prefix *digest_prefix_new(struct str beginning);
void digest_prefix_finish(const struct digest_prefix *prefix, struct str rest,
                          unsigned char out[DIGEST_SIZE]);
void digest_prefix_free(struct digest_prefix *prefix);
