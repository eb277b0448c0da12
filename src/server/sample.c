/* SPDX-License-Identifier: Apache-2.0 */
/* Taking, keeping and showing readings. */
#include "server/sample.h"

#include <stdio.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/event.h"
#include "server/launcher_link.h"
#include "server/sandbox.h"
#include "server/sandbox_list.h"
#include "server/server.h"

enum { FIRST_MS = 1000, PERIOD_MS = 5000, AT_ONCE = 16, RING_FIRST = 16 };
#define USAGE_TIMEOUT (5 * CLOCK_S)

struct sample_ring {
    struct sample *list;
    size_t count;
    size_t capacity;
    uint64_t last_cpu_ns; /* of the reading before, for the difference */
    int64_t last_at;      /* monotonic; 0: none */
};

/* One round: the sandboxes that ran at its beginning, by id, since any may go meanwhile. */
struct sampler {
    struct server *server;
    uv_timer_t timer;
    char (*ids)[ROUTE_ID_MAX + 1];
    size_t count;
    size_t capacity;
    size_t next;
    int under_way;
};

/* ---- ring ---- */

static void thin_out(struct sample_ring *ring)
{
    size_t half = ring->count / 2, kept = 0;
    for (size_t i = 0; i < ring->count; i++)
        if (i >= half || i % 2 == 0)
            ring->list[kept++] = ring->list[i];
    ring->count = kept;
}

static struct sample_ring *ring_of(struct sample_ring **ring)
{
    if (!*ring)
        *ring = xcalloc(1, sizeof **ring);
    return *ring;
}

void sample_ring_add(struct sample_ring **slot, const struct sample *sample)
{
    struct sample_ring *ring = ring_of(slot);
    if (ring->count == SAMPLE_RING_MAX)
        thin_out(ring);
    if (ring->count == ring->capacity) {
        ring->capacity = ring->capacity ? ring->capacity * 2 : RING_FIRST;
        ring->list = xrealloc(ring->list, ring->capacity * sizeof *ring->list);
    }
    ring->list[ring->count++] = *sample;
}

size_t sample_ring_count(const struct sample_ring *ring)
{
    return ring ? ring->count : 0;
}

const struct sample *sample_ring_at(const struct sample_ring *ring, size_t i)
{
    return &ring->list[i];
}

void sample_ring_free(struct sample_ring *ring)
{
    if (!ring)
        return;
    free(ring->list);
    free(ring);
}

/* ---- sampler ---- */

static void take_reading(struct sandbox *sb, const struct launcher_usage *usage)
{
    struct sample_ring *ring = ring_of(&sb->samples);
    int64_t now = clock_mono_ns();
    struct sample sample = {
        .time = clock_wall_ns() / CLOCK_S,
        .memory_cache = usage->cache_bytes,
        .memory_used =
            usage->memory_bytes > usage->cache_bytes ? usage->memory_bytes - usage->cache_bytes : 0,
        .disk_used = usage->disk_bytes,
    };
    if (ring->last_at && now > ring->last_at && usage->cpu_ns >= ring->last_cpu_ns) {
        double cpus = sb->limits.cpu_millis ? sb->limits.cpu_millis / 1000.0 : 1;
        sample.cpu_percent = (float)((double)(usage->cpu_ns - ring->last_cpu_ns) * 100 /
                                     (double)(now - ring->last_at) / cpus);
    }
    ring->last_at = now;
    ring->last_cpu_ns = usage->cpu_ns;
    sample_ring_add(&sb->samples, &sample);
}

/* What the kernel has ended for lack of memory, so that its owner need not guess. */
static void look_for_kills(struct sandbox *sb, const struct launcher_usage *usage)
{
    char count[16], limit[24];
    if (sb->kills_known && usage->oom_kills > sb->oom_kills) {
        snprintf(count, sizeof count, "%u", usage->oom_kills - sb->oom_kills);
        snprintf(limit, sizeof limit, "%llu MiB",
                 (unsigned long long)(sb->limits.memory_bytes >> 20));
        event_add(sb, EVENT_WARN, "processes killed: out of memory", "count", count, "limit", limit,
                  NULL);
    }
    sb->oom_kills = usage->oom_kills;
    sb->kills_known = true;
}

static void fill(struct sampler *sampler);

static void on_usage(const struct launcher_reply *reply, void *arg)
{
    struct sampler *sampler = arg;
    struct sandbox *sb = sandbox_list_find(sampler->server->sandboxes, reply->id);
    sampler->under_way--;
    if (sb && reply->code == ERR_OK && sb->state == SANDBOX_RUNNING) {
        take_reading(sb, &reply->usage);
        look_for_kills(sb, &reply->usage);
    }
    fill(sampler);
}

/* Asks for the next few sandboxes of this round. */
static void fill(struct sampler *sampler)
{
    while (sampler->next < sampler->count && sampler->under_way < AT_ONCE) {
        struct launcher_request request = {.op = LAUNCHER_USAGE};
        memcpy(request.id, sampler->ids[sampler->next++], sizeof request.id);
        sampler->under_way++;
        launcher_link_call(sampler->server->link, &request, STR(""), USAGE_TIMEOUT, on_usage,
                           sampler);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct sampler *sampler = timer->data;
    struct server *server = sampler->server;
    size_t all = sandbox_list_count(server->sandboxes);
    if (!launcher_link_connected(server->link) || sampler->next < sampler->count ||
        sampler->under_way > 0)
        return; /* the round before is not through: the launcher has better things to do */
    if (all > sampler->capacity) {
        sampler->capacity = all * 2;
        sampler->ids = xrealloc(sampler->ids, sampler->capacity * sizeof *sampler->ids);
    }
    sampler->count = sampler->next = 0;
    struct sandbox *sb;
    for (sb = sandbox_list_first(server->sandboxes); sb; sb = sandbox_list_next(sb))
        if (sb->state == SANDBOX_RUNNING)
            memcpy(sampler->ids[sampler->count++], sb->id, sizeof sb->id);
    fill(sampler);
}

struct sampler *sampler_new(struct server *server)
{
    struct sampler *sampler = xcalloc(1, sizeof *sampler);
    sampler->server = server;
    uv_timer_init(&server->loop, &sampler->timer);
    sampler->timer.data = sampler;
    uv_timer_start(&sampler->timer, on_tick, FIRST_MS, PERIOD_MS);
    return sampler;
}

static void on_closed(uv_handle_t *handle)
{
    struct sampler *sampler = handle->data;
    free(sampler->ids);
    free(sampler);
}

void sampler_close(struct sampler *sampler)
{
    if (!sampler)
        return;
    launcher_link_forget(sampler->server->link, sampler);
    uv_close((uv_handle_t *)&sampler->timer, on_closed);
}

/* ---- showing ---- */

static json_t *as_json(const struct sandbox *sb, const struct sample *sample)
{
    const struct launcher_limits *limits = &sb->limits;
    char time[CLOCK_TEXT_SIZE];
    clock_format(sample->time * CLOCK_S, 0, time);
    return json_pack(
        "{s:s, s:I, s:i, s:f, s:I, s:I, s:I, s:I, s:I}", "timestamp", time, "timestampUnix",
        (json_int_t)sample->time, "cpuCount",
        (int)(limits->cpu_millis ? (limits->cpu_millis + 999) / 1000 : 1), "cpuUsedPct",
        (double)sample->cpu_percent, "memUsed", (json_int_t)sample->memory_used, "memTotal",
        (json_int_t)(limits->memory_bytes ? limits->memory_bytes : sb->server->memory_total),
        "memCache", (json_int_t)sample->memory_cache, "diskUsed", (json_int_t)sample->disk_used,
        "diskTotal",
        (json_int_t)(limits->disk_bytes ? limits->disk_bytes : sb->server->disk_total));
}

json_t *sample_range(const struct sandbox *sb, int64_t start, int64_t end)
{
    json_t *array = json_array();
    for (size_t i = 0; i < sample_ring_count(sb->samples); i++) {
        const struct sample *sample = sample_ring_at(sb->samples, i);
        if (sample->time >= start && sample->time <= end)
            json_array_append_new(array, as_json(sb, sample));
    }
    return array;
}

json_t *sample_latest(const struct sandbox *sb)
{
    size_t count = sample_ring_count(sb->samples);
    return count ? as_json(sb, sample_ring_at(sb->samples, count - 1)) : NULL;
}
