/* SPDX-License-Identifier: Apache-2.0 */
/* Time: monotonic nanoseconds inside, wall clock only at the edges. */
#pragma once

#include <stdint.h>

#include "base/str.h"

#define CLOCK_MS INT64_C(1000000)
#define CLOCK_S INT64_C(1000000000)

int64_t clock_mono_ns(void);
/* Nanoseconds since 1970, UTC. */
int64_t clock_wall_ns(void);

enum { CLOCK_TEXT_SIZE = 40 };
/* RFC 3339 UTC, "2026-01-02T03:04:05.678Z", with 0, 3, 6 or 9 fraction digits. */
void clock_format(int64_t wall_ns, int digits, char out[CLOCK_TEXT_SIZE]);
/* Reads RFC 3339 with any offset. 0 or -EINVAL. */
int clock_parse(struct str text, int64_t *ret_wall_ns);
