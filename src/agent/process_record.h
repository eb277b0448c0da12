/* SPDX-License-Identifier: Apache-2.0 */
/* What is written down of a process in the arena, so that another agent can go on with it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/arena.h"
#include "agent/process_message.h"

enum process_state {
    PROCESS_NONE,
    PROCESS_STARTING, /* is there if its life has a pid; nobody has heard of it */
    PROCESS_LIVE,
    PROCESS_ENDED,
};

struct process_carry { /* the beginning of a character whose rest has not come */
    uint8_t len;
    char bytes[4];
};

enum { PROCESS_RECORD_SEGMENTS = 72 };

struct process_record {
    uint32_t state; /* enum process_state */
    bool pty;
    bool forsaken;
    bool timed_out;
    bool keep;          /* output that has been delivered, too */
    bool out_of_memory; /* it was killed for that, or its exit status says its child was */
    uint64_t order;     /* of the start, among all */
    int64_t deadline;   /* monotonic ns; 0: none */
    uint64_t ended_at;  /* loop time, ms */
    uint64_t end;       /* of the output */
    uint64_t delivered; /* output before this offset has been given to some reader */
    struct process_carry carry[2]; /* of standard output or the terminal, and standard error */
    /* The configuration as text: argv, names and values of envs, cwd, tag; each ends with NUL. */
    uint32_t argc, env_count;
    bool has_cwd, has_tag;
    uint32_t text_len;
    uint32_t segments[PROCESS_RECORD_SEGMENTS]; /* of the text, when it does not fit below */
    char text[ARENA_RECORD - 384];
};
_Static_assert(sizeof(struct process_record) <= (size_t)ARENA_RECORD, "a record fits its slot");

/* Writes the configuration down. 0, -E2BIG or -ENOMEM. */
int process_record_save(struct arena *a, uint32_t slot, const struct process_config *config);
/* Reads it back; owned by the caller. 0 or -EINVAL. */
int process_record_load(const struct arena *a, uint32_t slot, struct process_config *ret);
/* Frees the slot with all that belongs to it but its output. */
void process_record_free(struct arena *a, uint32_t slot);
