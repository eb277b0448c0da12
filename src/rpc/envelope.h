/* SPDX-License-Identifier: Apache-2.0 */
/* The Connect protocol's streaming envelope (protocol.md 4.1): one flag byte, four bytes big-endian
 * length, payload. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { ENVELOPE_HEAD = 5, ENVELOPE_COMPRESSED = 0x01, ENVELOPE_END = 0x02 };

/* Looks at the front of the bytes. Returns the whole envelope's length once it is complete (payload
 * in *ret_payload, flags in *ret_flags), 0 when more is needed, -EMSGSIZE when the payload would be
 * longer than max. */
int64_t envelope_parse(struct str bytes, size_t max, uint8_t *ret_flags, struct str *ret_payload);
/* Appends head and payload. 0 or -ENOBUFS. */
int envelope_append(struct buf *out, uint8_t flags, struct str payload);
/* Writes the five bytes of a head. */
void envelope_head(uint8_t flags, uint32_t length, unsigned char out[ENVELOPE_HEAD]);
