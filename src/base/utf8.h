/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: validity, and where a chunk may be cut. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

bool utf8_valid(struct str s);
/* Length of the character that s begins with, 0 if there is none. */
size_t utf8_char(struct str s);
/* Length of the longest prefix of s that does not end inside a character. If the tail is not the
 * beginning of a valid character (the text is not UTF-8), the whole length. */
size_t utf8_whole(struct str s);
