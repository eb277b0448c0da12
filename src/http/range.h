/* SPDX-License-Identifier: Apache-2.0 */
/* The Range field of a request for a file (RFC 9110 14.2), one range of bytes. */
#pragma once

#include <stdint.h>

#include "base/str.h"

enum http_range {
    HTTP_RANGE_ALL,  /* send everything: no range, several ones (a server may ignore them), another
                        unit, or malformed */
    HTTP_RANGE_PART, /* 206 */
    HTTP_RANGE_BAD,  /* 416: begins behind the end */
};

/* value: of the field, .p == NULL if absent. For a part its first byte and length. */
enum http_range http_range_parse(struct str value, int64_t size, int64_t *ret_first,
                                 int64_t *ret_length);
