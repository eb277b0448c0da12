/* SPDX-License-Identifier: Apache-2.0 */
/* What the server counts while it runs, and how Prometheus reads it (text format 0.0.4). */
#pragma once

#include <stdint.h>

#include "base/buf.h"

struct server;

enum { STATS_BOUNDS = 12, STATS_CLASSES = 6 };

/* Durations, sorted into the bounds of stats.c. */
struct stats_times {
    uint64_t counts[STATS_BOUNDS + 1];
    uint64_t total;
    int64_t sum_ns;
};

struct stats {
    uint64_t api[STATS_CLASSES];     /* answers of the control API, by the status's first digit */
    uint64_t proxied[STATS_CLASSES]; /* answers of sandboxes that were passed on */
    uint64_t created_new;            /* sandboxes, made for the request */
    uint64_t created_pooled;         /* or taken from the pool */
    uint64_t create_failed;          /* server or host could not */
    uint64_t ended;
    uint64_t refused_rate; /* 429: too many requests of one project */
    uint64_t refused_room; /* 429, 503: no room for another sandbox */
    struct stats_times api_times;
    struct stats_times create_times;
};

void stats_answer(uint64_t classes[STATS_CLASSES], int status);
void stats_time(struct stats_times *times, int64_t ns);
/* Appends everything, gauges of the present moment included. 0 or -ENOBUFS. */
int stats_print(const struct server *server, struct buf *out);
