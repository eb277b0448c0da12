/* SPDX-License-Identifier: Apache-2.0 */
/* Counters as text for Prometheus. Names follow its conventions: seconds, bytes, _total. */
#include "server/stats.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/server.h"
#include "server/admission.h"
#include "server/launcher_link.h"
#include "server/sandbox.h"
#include "server/sandbox_list.h"
#include "server/server.h"
#include "server/turn.h"

/* Nanoseconds; from what a warm create takes up to what is surely wrong. */
static const int64_t bounds[STATS_BOUNDS] = {
    1000000,   2500000,   5000000,   10000000,   25000000,   50000000,
    100000000, 250000000, 500000000, 1000000000, 2500000000, 10000000000,
};

void stats_answer(uint64_t classes[STATS_CLASSES], int status)
{
    if (status >= 100 && status < 100 * STATS_CLASSES)
        classes[status / 100]++;
}

void stats_time(struct stats_times *times, int64_t ns)
{
    int i = 0;
    while (i < STATS_BOUNDS && ns > bounds[i])
        i++;
    times->counts[i]++;
    times->total++;
    times->sum_ns += ns;
}

/* ---- text ---- */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    head(out, name, type, help);
    buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void classes(struct buf *out, const char *name, const char *help,
                    const uint64_t counts[STATS_CLASSES])
{
    head(out, name, "counter", help);
    for (int i = 2; i < STATS_CLASSES; i++)
        buf_printf(out, "%s{code=\"%dxx\"} %" PRIu64 "\n", name, i, counts[i]);
}

static void times(struct buf *out, const char *name, const char *help, const struct stats_times *t)
{
    uint64_t sum = 0;
    head(out, name, "histogram", help);
    for (int i = 0; i < STATS_BOUNDS; i++) {
        sum += t->counts[i];
        buf_printf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, (double)bounds[i] / CLOCK_S,
                   sum);
    }
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9f\n%s_count %" PRIu64 "\n", name,
               t->total, name, (double)t->sum_ns / CLOCK_S, name, t->total);
}

/* ---- gauges ---- */

static void sandboxes(struct buf *out, const struct server *server)
{
    static const char *const names[] = {
        [SANDBOX_CREATING] = "creating", [SANDBOX_WAITING] = "waiting",
        [SANDBOX_RUNNING] = "running",   [SANDBOX_PAUSING] = "pausing",
        [SANDBOX_PAUSED] = "paused",     [SANDBOX_RESUMING] = "resuming",
        [SANDBOX_KILLING] = "ending",
    };
    uint64_t counts[ARRAY_SIZE(names)] = {0};
    for (const struct sandbox *sb = sandbox_list_first(server->sandboxes); sb;
         sb = sandbox_list_next(sb))
        counts[sb->state]++;
    head(out, "carrel_sandboxes", "gauge", "Sandboxes by state; waiting ones are the pool's.");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        buf_printf(out, "carrel_sandboxes{state=\"%s\"} %" PRIu64 "\n", names[i], counts[i]);
}

static uint64_t open_descriptors(void)
{
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count > 3 ? count - 3 : 0; /* ".", ".." and the directory itself */
}

static uint64_t resident_bytes(void)
{
    unsigned long long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%llu %llu", &all, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void process(struct buf *out)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    head(out, "process_cpu_seconds_total", "counter", "Processor time of the server process.");
    buf_printf(out, "process_cpu_seconds_total %.6f\n", cpu);
    single(out, "process_resident_memory_bytes", "gauge", "Memory of the server process.",
           resident_bytes());
    single(out, "process_open_fds", "gauge", "Descriptors of the server process.",
           open_descriptors());
}

static void host(struct buf *out, const struct server *server)
{
    struct admission_room room;
    admission_look(server->config->state, &room);
    single(out, "carrel_host_memory_available_bytes", "gauge", "What the host could still give.",
           room.memory);
    single(out, "carrel_state_available_bytes", "gauge", "Free space where sandboxes are kept.",
           room.disk);
    single(out, "carrel_host_tasks_available", "gauge", "Processes the host could still start.",
           room.tasks);
}

int stats_print(const struct server *server, struct buf *out)
{
    const struct stats *s = &server->stats;
    head(out, "carrel_build_info", "gauge", "The version that runs.");
    buf_printf(out, "carrel_build_info{version=\"%s\"} 1\n", CARREL_VERSION);
    single(out, "carrel_launcher_connected", "gauge", "1 while the launcher can be reached.",
           launcher_link_connected(server->link));
    single(out, "carrel_connections", "gauge", "Clients' connections, and streams of HTTP/2.",
           server->http ? http_server_connections(server->http) : 0);
    sandboxes(out, server);
    single(out, "carrel_creations_waiting", "gauge", "Creations that wait for their turn.",
           turns_waiting(server->turns));
    head(out, "carrel_sandboxes_created_total", "counter", "Sandboxes given to clients.");
    buf_printf(out,
               "carrel_sandboxes_created_total{from=\"new\"} %" PRIu64
               "\ncarrel_sandboxes_created_total{from=\"pool\"} %" PRIu64 "\n",
               s->created_new, s->created_pooled);
    single(out, "carrel_sandboxes_ended_total", "counter", "Sandboxes that came to their end.",
           s->ended);
    single(out, "carrel_create_failures_total", "counter", "Creations that server or host failed.",
           s->create_failed);
    head(out, "carrel_refused_total", "counter", "Requests refused for want of room or for haste.");
    buf_printf(out,
               "carrel_refused_total{cause=\"room\"} %" PRIu64
               "\ncarrel_refused_total{cause=\"rate\"} %" PRIu64 "\n",
               s->refused_room, s->refused_rate);
    classes(out, "carrel_api_requests_total", "Answers of the control API.", s->api);
    classes(out, "carrel_proxy_responses_total", "Answers of sandboxes, passed on.", s->proxied);
    times(out, "carrel_api_request_seconds", "From a control request's head to its answer.",
          &s->api_times);
    times(out, "carrel_create_seconds", "The same of creations that went well.", &s->create_times);
    host(out, server);
    process(out);
    return buf_len(out) < out->ceiling ? 0 : -1;
}
