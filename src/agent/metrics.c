/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics: memory, processor and disk of the sandbox at this moment (protocol.md 3.7). */
#include "agent/metrics.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "agent/handlers.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

enum { FILE_MAX_BYTES = 65536 };

struct metrics {
    int memory_fd, cpu_fd;
    uint64_t cpu_ns; /* at the call before, for the share of time since */
    int64_t at_ns;
};

/* The number behind a key ("usage_usec 12") or, with key NULL, the file's first number. */
static bool number_in(struct str text, const char *key, uint64_t *ret)
{
    struct str line, word;
    while (str_split(&text, '\n', &line)) {
        line = str_trim(line);
        if (key) {
            if (!str_split(&line, ' ', &word) || !str_eqz(word, key))
                continue;
            line = str_trim(line);
        }
        if (line.p && str_split(&line, ' ', &word))
            return str_to_u64(word, UINT64_MAX, ret) == 0;
    }
    return false;
}

/* Small control files are read anew from their beginning each time. */
static struct str read_fd(int fd, char *out, size_t size)
{
    ssize_t n = fd < 0 ? -1 : pread(fd, out, size, 0);
    return (struct str){out, n > 0 ? (size_t)n : 0};
}

static uint64_t cpu_used_ns(const struct metrics *m)
{
    char text[1024];
    uint64_t value;
    struct str content = read_fd(m->cpu_fd, text, sizeof text);
    if (number_in(content, "usage_usec", &value))
        return value * 1000;
    return number_in(content, NULL, &value) ? value : 0;
}

struct metrics *metrics_new(const struct agent_start *start)
{
    struct metrics *m = xcalloc(1, sizeof *m);
    m->memory_fd = start->memory_fd;
    m->cpu_fd = start->cpu_fd;
    m->at_ns = clock_mono_ns();
    m->cpu_ns = cpu_used_ns(m);
    return m;
}

void metrics_free(struct metrics *metrics)
{
    free(metrics);
}

static unsigned cpu_count(const struct agent_config *config)
{
    cpu_set_t set;
    if (config->cpu_millis)
        return (config->cpu_millis + 999) / 1000;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* Share of one CPU's time used since the last call; can be above 100. */
static double cpu_percent(struct metrics *m)
{
    int64_t now = clock_mono_ns(), passed = now - m->at_ns;
    uint64_t used = cpu_used_ns(m);
    double percent = 0;
    if (passed > 0 && used > m->cpu_ns)
        percent = 100.0 * (double)(used - m->cpu_ns) / (double)passed;
    m->at_ns = now;
    m->cpu_ns = used;
    return percent;
}

struct memory {
    uint64_t total, used, cache;
};

static void meminfo(const char *key, struct str text, uint64_t *ret)
{
    if (number_in(text, key, ret))
        *ret *= 1024;
}

static struct memory memory_now(const struct metrics *m, const struct agent_config *config)
{
    struct memory memory = {0};
    char text[64];
    _cleanup_free_ char *info = NULL;
    size_t len;
    if (fd_read_file(AT_FDCWD, "/proc/meminfo", FILE_MAX_BYTES, &info, &len) == 0) {
        uint64_t available = 0;
        struct str content = {info, len};
        meminfo("MemTotal:", content, &memory.total);
        meminfo("MemAvailable:", content, &available);
        meminfo("Cached:", content, &memory.cache);
        memory.used = memory.total > available ? memory.total - available : 0;
    }
    if (config->memory_bytes)
        memory.total = config->memory_bytes;
    if (number_in(read_fd(m->memory_fd, text, sizeof text), NULL, &memory.used))
        memory.cache = 0; /* the machine's, not ours */
    return memory;
}

void handle_metrics_get(struct agent *agent, struct http_exchange *x)
{
    struct memory memory = memory_now(agent->metrics, &agent->config);
    struct statvfs disk = {0};
    statvfs("/", &disk);
    uint64_t disk_total = (uint64_t)disk.f_blocks * disk.f_frsize;
    uint64_t disk_free = (uint64_t)disk.f_bfree * disk.f_frsize;
    char body[512];
    int n =
        snprintf(body, sizeof body,
                 "{\"ts\":%lld,\"cpu_count\":%u,\"cpu_used_pct\":%.2f,\"mem_total\":%llu,"
                 "\"mem_used\":%llu,\"mem_cache\":%llu,\"mem_total_mib\":%llu,"
                 "\"mem_used_mib\":%llu,\"disk_used\":%llu,\"disk_total\":%llu}",
                 (long long)(clock_wall_ns() / CLOCK_S), cpu_count(&agent->config),
                 cpu_percent(agent->metrics), (unsigned long long)memory.total,
                 (unsigned long long)memory.used, (unsigned long long)memory.cache,
                 (unsigned long long)(memory.total >> 20), (unsigned long long)(memory.used >> 20),
                 (unsigned long long)(disk_total - disk_free), (unsigned long long)disk_total);
    http_respond_header(x, "Cache-Control", "no-store");
    http_respond(x, 200, "application/json", (struct str){body, (size_t)n});
}
