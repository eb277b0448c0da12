/* SPDX-License-Identifier: Apache-2.0 */
/* Room on the host, read from /proc and the filesystem at most a few times a second. */
#include "server/admission.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/pool.h"
#include "server/sandbox.h"
#include "server/sandbox_list.h"
#include "server/server.h"

enum { PROC_FILE_MAX = 16384, TASKS_KEPT = 1024 };
#define LOOK_EVERY (200 * CLOCK_MS)
#define MIB UINT64_C(1048576)

/* The number behind a name such as "MemAvailable:" at a line's beginning. */
static uint64_t number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    uint64_t n;
    if (!at)
        return UINT64_MAX;
    struct str rest = str_trim((struct str){at + strlen(name), strcspn(at + strlen(name), "\nk")});
    return str_to_u64(rest, UINT64_MAX / 1024, &n) < 0 ? UINT64_MAX : n;
}

static uint64_t available_memory(void)
{
    _cleanup_free_ char *text = NULL;
    size_t n;
    if (fd_read_file(AT_FDCWD, "/proc/meminfo", PROC_FILE_MAX, &text, &n) < 0)
        return UINT64_MAX;
    uint64_t kib = number_after(text, "MemAvailable:");
    return kib == UINT64_MAX ? kib : kib * 1024;
}

/* Of the whole host: "0.1 0.2 0.3 running/all last". */
static uint64_t available_tasks(void)
{
    _cleanup_free_ char *load = NULL, *limit = NULL;
    uint64_t all, max;
    size_t n;
    if (fd_read_file(AT_FDCWD, "/proc/loadavg", PROC_FILE_MAX, &load, &n) < 0 ||
        fd_read_file(AT_FDCWD, "/proc/sys/kernel/pid_max", PROC_FILE_MAX, &limit, &n) < 0)
        return UINT64_MAX;
    const char *slash = strchr(load, '/');
    if (!slash ||
        str_to_u64((struct str){slash + 1, strcspn(slash + 1, " ")}, UINT32_MAX, &all) < 0 ||
        str_to_u64(str_trim((struct str){limit, strcspn(limit, "\n")}), UINT32_MAX, &max) < 0)
        return UINT64_MAX;
    return max > all ? max - all : 0;
}

void admission_look(const char *state, struct admission_room *ret)
{
    struct statvfs disk;
    ret->memory = available_memory();
    ret->tasks = available_tasks();
    ret->disk = statvfs(state, &disk) < 0 ? UINT64_MAX : (uint64_t)disk.f_bavail * disk.f_frsize;
}

static size_t of_project(const struct server *server, const char *project)
{
    size_t count = 0;
    for (const struct sandbox *sb = sandbox_list_first(server->sandboxes); sb;
         sb = sandbox_list_next(sb))
        count += !sb->shelf && strcmp(sb->project, project) == 0;
    return count;
}

static int check_limits(struct server *server, const char *project, const char **ret_cause,
                        struct err *err)
{
    const struct config *config = server->config;
    size_t all = sandbox_list_count(server->sandboxes) - pool_count(server->pool);
    *ret_cause = "sandboxes";
    if (all >= config->max_sandboxes)
        return err_set(err, ERR_EXHAUSTED, 0, "the limit of %llu sandboxes is reached",
                       (unsigned long long)config->max_sandboxes);
    *ret_cause = "project";
    if (config->project_sandboxes && of_project(server, project) >= config->project_sandboxes)
        return err_set(err, ERR_EXHAUSTED, 0, "the limit of %llu sandboxes of a project is reached",
                       (unsigned long long)config->project_sandboxes);
    return 0;
}

static int short_of(struct err *err, const char *what, uint64_t have, uint64_t kept)
{
    return err_set(err, ERR_UNAVAILABLE, 0,
                   "no room for another sandbox: %llu MB of the host's %s are left, and %llu MB are "
                   "kept for what runs",
                   (unsigned long long)(have / MIB), what, (unsigned long long)(kept / MIB));
}

int admission_check(struct server *server, const char *project, const char **ret_cause,
                    struct err *err)
{
    struct admission_room *room = &server->room;
    uint64_t memory_kept = server->config->keep_memory_mb * MIB;
    uint64_t disk_kept = server->config->keep_disk_mb * MIB;
    int64_t now = clock_mono_ns();
    int rc = check_limits(server, project, ret_cause, err);
    if (rc < 0)
        return rc;
    if (server->room_looked == 0 || now - server->room_looked > LOOK_EVERY) {
        admission_look(server->config->state, room);
        server->room_looked = now;
    }
    *ret_cause = "memory";
    if (room->memory < memory_kept)
        return short_of(err, "memory", room->memory, memory_kept);
    *ret_cause = "disk";
    if (room->disk < disk_kept)
        return short_of(err, "disk", room->disk, disk_kept);
    *ret_cause = "tasks";
    if (room->tasks < TASKS_KEPT)
        return err_set(err, ERR_UNAVAILABLE, 0,
                       "no room for another sandbox: the host can start %llu more processes, and %d "
                       "are kept for what runs",
                       (unsigned long long)room->tasks, TASKS_KEPT);
    *ret_cause = NULL;
    return 0;
}
