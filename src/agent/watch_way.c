/* SPDX-License-Identifier: Apache-2.0 */
/* Watching the directories above a path. */
#include "agent/watch_way.h"

#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"

/* Of one on the way only that it leaves; of the last one what comes and goes in it. */
#define PASSED (IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR)
#define LAST   (PASSED | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)

void watch_way_init(struct watch_way *way, int fd, const char *path)
{
    *way = (struct watch_way){.fd = fd, .path = path, .last = -1};
}

void watch_way_leave(struct watch_way *way)
{
    for (size_t i = 0; i < way->count; i++)
        inotify_rm_watch(way->fd, way->wds[i]); /* fails for a directory that is gone: fine */
    way->count = 0;
    way->last = -1;
}

/* The component of the path that begins at or behind `at`. False: there is none. */
static bool component(const char *path, size_t at, size_t *ret_begin, size_t *ret_len)
{
    at += strspn(path + at, "/");
    *ret_begin = at;
    *ret_len = strcspn(path + at, "/");
    return *ret_len > 0;
}

static void pass(struct watch_way *way, const char *dir, uint32_t mask)
{
    int wd = inotify_add_watch(way->fd, dir, mask | IN_MASK_CREATE);
    if (wd < 0) {
        /* Passed already ("/a/./b"), or in the watched tree (by a symlink upwards): not ours to
         * remove, but one to listen to. */
        if (mask == LAST)
            way->last = inotify_add_watch(way->fd, dir, mask | IN_MASK_ADD);
        return;
    }
    if (way->count == WATCH_WAY_MAX) {
        inotify_rm_watch(way->fd, way->wds[0]);
        memmove(way->wds, way->wds + 1, --way->count * sizeof *way->wds);
    }
    way->wds[way->count++] = wd;
    if (mask == LAST)
        way->last = wd;
}

void watch_way_take(struct watch_way *way)
{
    watch_way_leave(way);
    _cleanup_free_ char *dir = xstrdup(way->path);
    size_t begin, len, next, next_len, end = 0;
    way->dangling = false;
    while (component(way->path, end, &begin, &len)) {
        struct stat st;
        /* The directory that this component stands in is there; is it the last one? */
        bool is_end = !component(way->path, begin + len, &next, &next_len);
        memcpy(dir, way->path, begin + len);
        dir[begin + len] = '\0';
        bool is_there = stat(dir, &st) == 0 && S_ISDIR(st.st_mode);
        way->dangling = !is_there && lstat(dir, &st) == 0 && S_ISLNK(st.st_mode);
        dir[begin] = '\0';
        pass(way, dir, is_end || !is_there ? LAST : PASSED);
        way->name = begin;
        way->len = len;
        if (!is_there)
            return;
        end = begin + len;
    }
}

bool watch_way_holds(const struct watch_way *way)
{
    struct stat st;
    _cleanup_free_ char *path = xstrndup(way->path, way->name + way->len);
    return way->last >= 0 && !way->dangling && !(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

bool watch_way_concerns(const struct watch_way *way, int wd, uint32_t mask, const char *name)
{
    if (wd == way->last && name)
        return strlen(name) == way->len && memcmp(name, way->path + way->name, way->len) == 0;
    if (!(mask & (IN_MOVE_SELF | IN_DELETE_SELF | IN_UNMOUNT)))
        return false;
    for (size_t i = 0; i < way->count; i++)
        if (way->wds[i] == wd)
            return true;
    return false;
}
