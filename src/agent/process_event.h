/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessEvents as envelopes ready to be sent (protocol.md 4.4), in either codec. Data events are the
 * hot path: they are written straight into the buffer. */
#pragma once

#include "agent/process.h"
#include "base/buf.h"
#include "rpc/connect.h"

#define PROCESS_EVENT_KEEPALIVE STR("{\"event\":{\"keepalive\":{}}}")

/* Upper bound of a data event's envelope for n bytes of output. */
#define PROCESS_EVENT_SIZE(n) (192 + ((n) + 2) / 3 * 4)

/* Each appends one envelope. 0 or -ENOBUFS. */
int process_event_start(struct buf *out, enum rpc_codec codec, pid_t pid);
/* offset: of the chunk's first byte in the output; missed: bytes before it that are lost. Both are
 * extensions that stock clients do not see. */
int process_event_data(struct buf *out, enum rpc_codec codec, const struct spool_chunk *chunk,
                       uint64_t offset, uint64_t missed);
int process_event_end(struct buf *out, enum rpc_codec codec, const struct process_end *end);
