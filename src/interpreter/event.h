/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of an /execute answer (protocol.md 6.3): one JSON object each, ASCII only, because
 * clients cut the stream at network chunks and at every Unicode line separator before they decode
 * it. Each function appends one line with its newline. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"

/* Appends text as a quoted JSON string in ASCII. Bytes that are not UTF-8 become U+FFFD. */
void event_append_text(struct buf *out, struct str text);

void event_count(struct buf *out, json_int_t execution_count);
void event_output(struct buf *out, bool is_stderr, struct str text);
/* bundle: MIME type → value, as Jupyter has it. Values are borrowed. */
void event_result(struct buf *out, const json_t *bundle, bool is_main);
void event_error(struct buf *out, struct str name, struct str value, struct str traceback);
void event_keepalive(struct buf *out);
void event_end(struct buf *out);
