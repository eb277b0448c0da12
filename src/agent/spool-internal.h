/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by spool.c (chunks) and spool_store.c (where segments are). */
#pragma once

#include "agent/spool.h"

/* A chunk in a segment: its head, then the bytes, then padding to the next head. */
struct spool_head {
    uint32_t len;
    uint32_t kind;
};

static inline uint32_t spool_id(const struct spool *s, uint64_t sequence)
{
    return s->ring[sequence & (s->ring_size - 1)];
}

static inline struct arena_segment *spool_segment(const struct spool *s, uint64_t sequence)
{
    return arena_segment(s->pool->arena, spool_id(s, sequence));
}

/* spool_store.c */
/* A new, empty, newest segment. False when there is no memory at all. */
bool spool_add_segment(struct spool *s);
void spool_drop_newest(struct spool *s);
void spool_set_used(struct spool *s, struct arena_segment *segment, uint32_t used);
/* A segment's content, valid until another is asked for; NULL when it cannot be read back. */
const char *spool_bytes(const struct spool *s, uint64_t sequence);

/* spool.c */
void spool_cut_tail(struct spool *s);
