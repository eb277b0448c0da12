/* SPDX-License-Identifier: Apache-2.0 */
/* One event of a process's stream, read from its JSON. Output is what there is much of: its usual form
 * is recognised without building a tree of values. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/str.h"
#include "client/client-internal.h"

enum process_event_kind {
    PROCESS_EVENT_OTHER, /* a sign of life, or something new */
    PROCESS_EVENT_START,
    PROCESS_EVENT_DATA,
    PROCESS_EVENT_END,
};

struct process_event {
    enum process_event_kind kind;
    unsigned pid;
    enum carrel_stream stream;
    bool counted; /* the server says where the bytes belong */
    uint64_t offset;
    uint64_t missed;
    struct carrel_exit exit;
};

/* Output's bytes replace what `bytes` holds. 0 or an error. */
int process_event_parse(struct str text, struct buf *bytes, struct process_event *ret,
                        struct carrel_error *err);
