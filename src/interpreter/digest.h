/* SPDX-License-Identifier: Apache-2.0 */
/* The signature of Jupyter messages: HMAC-SHA256, in hex. */
#pragma once

#include "base/str.h"

enum { DIGEST_HEX_SIZE = 65 };

/* Of the bytes of `data` under `key`, as lower-case text with a NUL. */
void digest_hmac_hex(struct str key, struct str data, char out[DIGEST_HEX_SIZE]);
