/* SPDX-License-Identifier: Apache-2.0 */
/* Base64: standard alphabet out; standard or URL-safe, padded or not, in (protocol.md 4.2). */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/str.h"

/* Bytes of base64_encode's output for n input bytes, padding included, no NUL. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_SIZE(n) characters; returns that number. */
size_t base64_encode(const void *p, size_t n, char *out);
/* Decodes into out (room for s.len / 4 * 3 + 3 bytes). The length, or -EINVAL. */
ssize_t base64_decode(struct str s, void *out);
