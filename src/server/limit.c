/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket for each project. There are as many as there are projects with keys. */
#include "server/limit.h"

#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/mem.h"

struct bucket {
    LIST_ENTRY(bucket) link;
    char *project;
    double tokens;
    int64_t at; /* when that many were there */
};

struct limit {
    LIST_HEAD(, bucket) buckets;
    double rate, burst;
};

struct limit *limit_new(uint64_t rate)
{
    struct limit *limit = xcalloc(1, sizeof *limit);
    LIST_INIT(&limit->buckets);
    limit->rate = (double)rate;
    limit->burst = (double)rate * LIMIT_BURST_S;
    return limit;
}

void limit_free(struct limit *limit)
{
    struct bucket *b;
    if (!limit)
        return;
    while ((b = LIST_FIRST(&limit->buckets))) {
        LIST_REMOVE(b, link);
        free(b->project);
        free(b);
    }
    free(limit);
}

static struct bucket *find(struct limit *limit, const char *project, int64_t now)
{
    struct bucket *b;
    LIST_FOREACH(b, &limit->buckets, link)
        if (strcmp(b->project, project) == 0)
            return b;
    b = xcalloc(1, sizeof *b);
    b->project = xstrdup(project);
    b->tokens = limit->burst;
    b->at = now;
    LIST_INSERT_HEAD(&limit->buckets, b, link);
    return b;
}

static uint64_t seconds_for(const struct limit *limit, double tokens)
{
    double s = tokens / limit->rate;
    return s <= 0 ? 0 : (uint64_t)s + ((double)(uint64_t)s < s);
}

bool limit_take(struct limit *limit, const char *project, int64_t now, struct limit_state *ret)
{
    struct bucket *b = find(limit, project, now);
    if (now > b->at) {
        b->tokens += (double)(now - b->at) / CLOCK_S * limit->rate;
        b->at = now;
    }
    if (b->tokens > limit->burst)
        b->tokens = limit->burst;
    bool ok = b->tokens >= 1;
    if (ok)
        b->tokens -= 1;
    ret->burst = (uint64_t)limit->burst;
    ret->remaining = (uint64_t)b->tokens;
    ret->reset = seconds_for(limit, ok ? limit->burst - b->tokens : 1 - b->tokens);
    return ok;
}
