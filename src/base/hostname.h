/* SPDX-License-Identifier: Apache-2.0 */
/* Names of hosts, as in the DNS: labels of letters, digits, '-' and '_', 253 bytes at most, the last
 * label not a number (that would be an address, or a mistyped one). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum { HOSTNAME_MAX = 253, HOSTNAME_SIZE = 256 };

/* Whether it is a name in lower case without a final dot. */
bool hostname_valid(struct str name);
/* The same for a pattern, which may have "*." in front: all names below. */
bool hostname_pattern_valid(struct str pattern);
/* Lower case, without one final dot, NUL-terminated. Returns the length, 0 if it is no name. */
size_t hostname_normalize(struct str text, char out[HOSTNAME_SIZE]);
/* Whether a (normalized) name is the pattern, or below it if that begins with "*.". */
bool hostname_matches(struct str name, struct str pattern);
