/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of running sandboxes: one reading every 5 s, kept per sandbox in bounded memory. When a
 * ring is full, every second reading of its older half is dropped: all of a life stays visible, the
 * past more coarsely. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct sampler;
struct sample_ring;
struct sandbox;
struct server;

enum { SAMPLE_RING_MAX = 256 };

struct sample {
    int64_t time;      /* unix seconds */
    float cpu_percent; /* of all the sandbox's CPUs */
    uint64_t memory_used;
    uint64_t memory_cache;
    uint64_t disk_used;
};

/* Appends to *ring, which is made at the first one. */
void sample_ring_add(struct sample_ring **ring, const struct sample *sample);
size_t sample_ring_count(const struct sample_ring *ring);
const struct sample *sample_ring_at(const struct sample_ring *ring, size_t i);
void sample_ring_free(struct sample_ring *ring);

/* Takes readings from now on; few launcher calls at a time, none while no sandbox runs. */
struct sampler *sampler_new(struct server *server);
void sampler_close(struct sampler *sampler);

/* Readings from start to end (unix seconds, inclusive) as the API's array of protocol.md 2.2. */
json_t *sample_range(const struct sandbox *sandbox, int64_t start, int64_t end);
/* The latest one, or NULL. */
json_t *sample_latest(const struct sandbox *sandbox);
