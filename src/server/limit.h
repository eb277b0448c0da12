/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of a project to the control API: so many a second on average, and as many at once as come
 * together in a few seconds of rest. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct limit;

enum { LIMIT_BURST_S = 2 }; /* seconds of rest that can be made up for */

/* What a client is told of it (IETF draft "RateLimit header fields"). */
struct limit_state {
    uint64_t burst;
    uint64_t remaining;
    uint64_t reset; /* seconds, rounded up, until the next request is allowed or all of the burst is
                       there again */
};

/* rate: requests a second. */
struct limit *limit_new(uint64_t rate);
/* NULL is fine. */
void limit_free(struct limit *limit);
/* Counts a request at this moment (monotonic nanoseconds); false: it is one too many. */
bool limit_take(struct limit *limit, const char *project, int64_t now, struct limit_state *ret);
