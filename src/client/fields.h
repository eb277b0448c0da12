/* SPDX-License-Identifier: Apache-2.0 */
/* Members of JSON objects as the wire has them: 64-bit numbers may be strings, an absent member is
 * its zero value (protocol.md 4.2). What is of another type counts as absent: the other side may be
 * anything. */
#pragma once

#include <jansson.h>

#include "carrel/client.h"

/* "" when absent; as long as the object. */
const char *fields_text(const json_t *object, const char *name);
/* NULL when absent. */
const char *fields_text_or_null(const json_t *object, const char *name);
int64_t fields_integer(const json_t *object, const char *name);
/* RFC 3339 as milliseconds since 1970; 0 when absent. */
int64_t fields_time_ms(const json_t *object, const char *name);
/* An object of texts; NULL pairs: an empty one. NULL when a text is not UTF-8. */
json_t *fields_from_pairs(const struct carrel_pair *pairs);
/* An object of texts as pairs that end with a NULL name, borrowing the texts; free() it. */
struct carrel_pair *fields_to_pairs(json_t *object);
