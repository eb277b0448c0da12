/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates as text: finding PEM blocks and telling which a bundle lacks. Does not look into
 * them. */
#pragma once

#include <stddef.h>

#include "base/str.h"

/* Takes the next certificate from *rest, which is advanced past it. *ret is the whole block from
 * its BEGIN line to its END line, without the final line end. Blocks of other kinds and blocks
 * that are not base64 are passed over. False when there is none left. */
bool pem_next(struct str *rest, struct str *ret);

/* Whether two blocks hold the same bytes, whatever their line breaks. */
bool pem_same(struct str a, struct str b);

/* The certificates of `add` that are not in `have`, each once, as views into add: at most max are
 * put into out. Returns how many there are, which may be more than max. */
size_t pem_missing(struct str have, struct str add, struct str *out, size_t max);
