/* SPDX-License-Identifier: Apache-2.0 */
/* Moves bytes between two raw streams, both ways, until both directions have ended or one broke.
 * Bounded: what one side cannot take stops the reading of the other. */
#pragma once

#include "base/buf.h"
#include "http/stream.h"

/* Called once when it is over; both streams are closed by then. */
typedef void relay_done_fn(void *arg);

struct relay;

/* Takes over both streams and the leftover bytes (a_left came from a and goes to b, and the other
 * way round; emptied here). idle_ns: end after this long without a byte, 0: never. The result is
 * only for relay_close; it is invalid once done was called. */
struct relay *relay_start(struct stream *a, struct buf *a_left, struct stream *b, struct buf *b_left,
                          int64_t idle_ns, relay_done_fn *done, void *arg);
/* Cuts both sides now; done is not called. */
void relay_close(struct relay *relay);
