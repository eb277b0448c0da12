/* SPDX-License-Identifier: Apache-2.0 */
/* A watched directory tree. */
#include "agent/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/entry.h"
#include "agent/inotify.h"
#include "agent/upload.h"
#include "agent/watch_tree.h"
#include "agent/watch_way.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json_text.h"
#include "base/mem.h"

enum {
    READ_SIZE = 16 * 1024, /* of kernel events in one go */
    SLICE = 2000,          /* names read before the loop gets its turn */
    PATH_ROOM = 1 << 20,
    EVENT_MAX = 1 << 20,
    RESCAN_MS = 1000,   /* between looks at what is not watched, at least */
    DANGLING_MS = 500,  /* between looks at a symlink to nothing */
    ROUNDS_MAX = 8,     /* of looking where a path leads that keeps changing */
    LARGE_TREE = 10000, /* names whose memory is worth giving back to the system */
    SPARE_WDS = 1024,   /* more watches than this are not worth removing one by one */
};
/* ctime comes from a clock that ticks; what is older than this against our own is old. */
#define CLOCK_TICK (20 * CLOCK_MS)
#define CATCH_UP CLOCK_S /* for one that asks; a large tree that is read again takes longer */

#define WATCH_MASK                                                                 \
    (IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_ATTRIB | IN_DELETE | \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

TAILQ_HEAD(pending_dirs, watch_dir);

struct watch {
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t again; /* the next slice */
    struct watch_options options;
    const struct watch_callbacks *callbacks;
    void *arg;
    int fd;
    char *path;
    struct watch_tree tree;
    struct watch_way way; /* to path */
    dev_t root_dev;       /* what path led to last */
    ino_t root_ino;
    struct pending_dirs pending; /* to be read before the next kernel event is looked at */
    DIR *reading;                /* the first of them, while it is being read */
    struct owners owners;

    char *input; /* kernel events read, NULL when there are none */
    size_t input_len, input_at;
    int64_t consumed;      /* bytes of kernel events handled so far */
    int64_t whole_at;      /* wall clock when the queue was last empty */
    int64_t changed_since; /* during a rescan: what was changed later than this is told */
    uint32_t round;
    int64_t scan_began;     /* wall clock, of the last look at what is not watched */
    uint32_t hidden_cookie; /* of the last move away from a name of ours */
    bool ready, paused, failed, closing;
    bool waiting;    /* there is no directory at path */
    bool limited;    /* some directories are not watched: the kernel's limit is reached */
    uv_timer_t look; /* while waiting for what no event tells of, or limited */
    int handles;
};

/* ---- telling ---- */

static const char *const type_names[] = {"CREATE", "WRITE", "REMOVE", "RENAME", "CHMOD"};
enum event_type { EVENT_CREATE, EVENT_WRITE, EVENT_REMOVE, EVENT_RENAME, EVENT_CHMOD };

static void append_entry(struct watch *w, struct buf *out, struct str name)
{
    size_t before = buf_len(out);
    bool self = str_eqz(name, ".");
    _cleanup_free_ char *path =
        self ? xstrdup(w->path)
             : xasprintf("%s%s%.*s", w->path, strcmp(w->path, "/") == 0 ? "" : "/", STR_ARG(name));
    int r = buf_append_z(out, ",\"entry\":");
    r = r ? r : entry_append(out, &w->owners, AT_FDCWD, path, path, NULL);
    if (r < 0)
        buf_truncate(out, before);
}

static void tell_name(struct watch *w, enum event_type type, struct str name)
{
    struct buf out;
    buf_init(&out, EVENT_MAX);
    buf_append_z(&out, "{\"name\":");
    json_text_append(&out, name);
    buf_printf(&out, ",\"type\":\"EVENT_TYPE_%s\"", type_names[type]);
    if (w->options.include_entry && type != EVENT_REMOVE && type != EVENT_RENAME)
        append_entry(w, &out, name);
    buf_append_char(&out, '}');
    w->callbacks->event(w, buf_str(&out), w->arg);
    buf_done(&out);
}

static void tell(struct watch *w, enum event_type type, const struct watch_node *node)
{
    struct buf name;
    buf_init(&name, PATH_ROOM);
    if (!node->parent)
        buf_append_char(&name, '.');
    else
        watch_node_path(node, &name);
    tell_name(w, type, buf_str(&name));
    buf_done(&name);
}

static void fail(struct watch *w, int os, const char *path)
{
    struct err err;
    if (w->failed)
        return;
    if (os == E2BIG)
        err_set(&err, ERR_EXHAUSTED, 0, "more than %d names below '%s'", WATCH_NAMES_MAX, path);
    else if (os == ENOENT)
        err_set(&err, ERR_NOT_FOUND, 0, "path not found: %s", path);
    else if (os == ENOSPC)
        err_set(&err, ERR_EXHAUSTED, 0,
                "the limit of inotify watches is reached at '%s' (fs.inotify.max_user_watches)",
                path);
    else
        err_set(&err, ERR_INTERNAL, os, "watch '%s'", path);
    w->failed = true;
    w->callbacks->failed(w, &err, w->arg);
}

/* ---- the tree ---- */

static void dir_gone(struct watch *w, struct watch_dir *dir)
{
    if (dir->is_pending) {
        if (w->reading && dir == TAILQ_FIRST(&w->pending)) {
            closedir(w->reading);
            w->reading = NULL;
        }
        TAILQ_REMOVE(&w->pending, dir, pending);
    }
    if (dir->wd >= 0)
        inotify_rm_watch(w->fd, dir->wd); /* fails when the directory itself is gone: fine */
}

static void node_gone(struct watch_node *node, void *arg)
{
    if (node->is_dir)
        dir_gone(arg, watch_node_dir(node));
}

static void node_gone_told(struct watch_node *node, void *arg)
{
    tell(arg, EVENT_REMOVE, node);
    node_gone(node, arg);
}

static void enqueue(struct watch *w, struct watch_dir *dir, bool is_new)
{
    if (dir->is_pending)
        return;
    dir->is_pending = true;
    dir->is_new = is_new;
    TAILQ_INSERT_TAIL(&w->pending, dir, pending);
}

/* The point in the stream of kernel events behind everything that has happened up to now. */
static int64_t stream_end(struct watch *w)
{
    int queued = 0;
    ioctl(w->fd, FIONREAD, &queued);
    return w->consumed + (int64_t)(w->input_len - w->input_at) + queued;
}

/* ---- reading directories ---- */

static int dir_path(struct watch *w, const struct watch_node *node, struct buf *out)
{
    buf_append_z(out, w->path);
    buf_append_char(out, '/');
    int r = watch_node_path(node, out);
    return r ? r : buf_cstr(out) ? 0 : -ENOBUFS;
}

/* The same directory under another name (a rename whose first half was lost): that one is history. */
static void claim_wd(struct watch *w, struct watch_dir *dir, int wd)
{
    struct watch_dir *other = watch_tree_by_wd(&w->tree, wd);
    if (other == dir)
        return;
    if (other) {
        watch_tree_set_wd(&w->tree, other, -1);
        if (other->node.parent)
            watch_tree_remove(&w->tree, &other->node, node_gone_told, w);
    }
    if (dir->wd >= 0) /* another directory has taken its name meanwhile */
        inotify_rm_watch(w->fd, dir->wd);
    watch_tree_set_wd(&w->tree, dir, wd);
}

/* Watches an open directory. Beyond the kernel's limit it is read now and then instead; the root is
 * not. 0 or an errno. */
static int watch_dir(struct watch *w, struct watch_dir *dir, int fd, const char *path)
{
    struct stat st;
    int wd = inotify_watch_fd(w->fd, fd, path, WATCH_MASK);
    if (wd >= 0) {
        claim_wd(w, dir, wd);
    } else if (wd == -ENOSPC && dir->node.parent) {
        if (!w->limited)
            w->scan_began = clock_wall_ns();
        w->limited = true;
    } else {
        return -wd;
    }
    if (!dir->node.parent && fstat(fd, &st) == 0) {
        w->root_dev = st.st_dev;
        w->root_ino = st.st_ino;
    }
    return 0;
}

/* The same directory, opened again. btrfs shows a reader what was there when it opened, and nothing
 * that has come since; what came between that and the watch would never be told. */
static int open_again(int fd)
{
    int fresh = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fresh < 0)
        return fd;
    close(fd);
    return fresh;
}

/* Opens the directory and then watches exactly what was opened, whatever its name means by then. With
 * w->reading unset behind it, it is gone, or not for us. Negative: the watch has failed. */
static int begin_reading(struct watch *w, struct watch_dir *dir)
{
    struct buf path;
    buf_init(&path, PATH_ROOM);
    if (dir_path(w, &dir->node, &path) < 0) {
        buf_done(&path);
        return 0;
    }
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (dir->node.parent ? O_NOFOLLOW : 0);
    int fd = open(buf_cstr(&path), flags), os = 0;
    if (fd >= 0) {
        os = watch_dir(w, dir, fd, buf_cstr(&path));
        if (!os)
            w->reading = fdopendir(open_again(TAKE_FD(fd)));
        fd_closep(&fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
               (!dir->node.parent && errno != ENOENT && errno != ENOTDIR)) {
        os = errno;
    }
    if (os)
        fail(w, os, buf_cstr(&path));
    buf_done(&path);
    return -os;
}

static bool is_ours(const char *name)
{
    return strncmp(name, UPLOAD_TEMP_PREFIX, strlen(UPLOAD_TEMP_PREFIX)) == 0;
}

static bool entry_is_dir(struct watch *w, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd(w->reading), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(st.st_mode);
}

/* A known name was found again by a rescan: has it changed since the queue was whole? */
static void compare_known(struct watch *w, struct watch_node *node, const char *name)
{
    struct stat st;
    if (fstatat(dirfd(w->reading), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    int64_t changed = st.st_ctim.tv_sec * CLOCK_S + st.st_ctim.tv_nsec;
    int64_t modified = st.st_mtim.tv_sec * CLOCK_S + st.st_mtim.tv_nsec;
    if (changed < w->changed_since)
        return;
    bool written = !node->is_dir && modified >= w->changed_since;
    tell(w, written ? EVENT_WRITE : EVENT_CHMOD, node);
}

/* NULL: there are too many, and the watch has failed. */
static struct watch_node *add_name(struct watch *w, struct watch_dir *dir, struct str name,
                                   bool is_dir)
{
    if (w->tree.name_count < WATCH_NAMES_MAX)
        return watch_tree_add(&w->tree, dir, name, is_dir);
    fail(w, E2BIG, w->path);
    return NULL;
}

static void found(struct watch *w, struct watch_dir *dir, const struct dirent *entry)
{
    bool is_dir = entry_is_dir(w, entry);
    struct watch_node *node = watch_tree_find(&w->tree, dir, str_from(entry->d_name));
    if (node && node->is_dir != is_dir) {
        watch_tree_remove(&w->tree, node, node_gone_told, w);
        node = NULL;
    }
    bool is_new = !node;
    if (is_new && !(node = add_name(w, dir, str_from(entry->d_name), is_dir)))
        return;
    node->round = w->round & 0x7fffffff;
    if (is_new && w->ready) {
        node->told_until = stream_end(w);
        tell(w, EVENT_CREATE, node);
    } else if (!is_new && !dir->is_new) {
        compare_known(w, node, entry->d_name);
    }
    if (is_dir && w->options.recursive)
        enqueue(w, watch_node_dir(node), is_new);
}

/* What a rescan did not find has gone. */
static void drop_unseen(struct watch *w, struct watch_dir *dir)
{
    struct watch_node *node = LIST_FIRST(&dir->children), *next;
    for (; node; node = next) {
        next = LIST_NEXT(node, sibling);
        if (node->round != (w->round & 0x7fffffff))
            watch_tree_remove(&w->tree, node, node_gone_told, w);
    }
}

/* ---- where the path leads ---- */

static void root_found(struct watch *w)
{
    w->waiting = false;
    if (w->ready)
        tell(w, EVENT_CREATE, &w->tree.root->node);
    enqueue(w, w->tree.root, true);
}

static void on_look(uv_timer_t *timer);

/* There is no directory: until one comes. Each look is behind a way just taken, so none is missed. */
static void wait_for_root(struct watch *w)
{
    struct stat st;
    for (int i = 0; i < ROUNDS_MAX; i++) {
        watch_way_take(&w->way);
        if (stat(w->path, &st) == 0 && S_ISDIR(st.st_mode)) {
            root_found(w);
            return;
        }
        if (watch_way_holds(&w->way))
            return;
        if (w->way.dangling)
            break;
    }
    uv_timer_start(&w->look, on_look, DANGLING_MS, 0);
}

static void root_lost(struct watch *w, enum event_type type)
{
    struct watch_dir *root = w->tree.root;
    if (!w->ready && !w->options.wait) {
        fail(w, ENOENT, w->path);
        return;
    }
    tell(w, type, &root->node);
    while (!LIST_EMPTY(&root->children))
        watch_tree_remove(&w->tree, LIST_FIRST(&root->children), node_gone, w);
    dir_gone(w, root);
    root->is_pending = false;
    watch_tree_set_wd(&w->tree, root, -1);
    w->root_ino = 0;
    w->waiting = true;
    w->limited = false;
    wait_for_root(w);
}

/* Something on the way has changed: does the path still lead to the same directory? */
static void look_at_root(struct watch *w, enum event_type if_lost)
{
    struct stat st;
    if (w->waiting) {
        wait_for_root(w);
    } else if (w->root_ino &&
               (stat(w->path, &st) < 0 || st.st_dev != w->root_dev || st.st_ino != w->root_ino)) {
        root_lost(w, if_lost);
    } else {
        watch_way_take(&w->way);
    }
}

/* Reads pending directories, at most SLICE names. True: all are read. */
static bool read_slice(struct watch *w)
{
    struct watch_dir *dir;
    for (int left = SLICE; left > 0 && !w->failed && (dir = TAILQ_FIRST(&w->pending)); left--) {
        struct dirent *entry = NULL;
        if (!w->reading && begin_reading(w, dir) < 0)
            return true;
        /* Claiming its descriptor may have removed another node, not this one: it was just found. */
        if (w->reading)
            entry = readdir(w->reading);
        if (entry) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                !is_ours(entry->d_name))
                found(w, dir, entry);
            continue;
        }
        TAILQ_REMOVE(&w->pending, dir, pending);
        dir->is_pending = false;
        if (w->reading) {
            closedir(w->reading);
            w->reading = NULL;
            if (!dir->is_new)
                drop_unseen(w, dir);
        } else if (dir == w->tree.root) {
            root_lost(w, EVENT_REMOVE);
        }
    }
    return w->failed || TAILQ_EMPTY(&w->pending);
}

/* ---- kernel events ---- */

static void overflowed(struct watch *w)
{
    w->callbacks->rescan(w, WATCH_RESCAN_OVERFLOW, w->arg);
    look_at_root(w, EVENT_REMOVE);
    if (w->waiting)
        return;
    w->round++;
    w->changed_since = w->whole_at - CLOCK_TICK;
    enqueue(w, w->tree.root, false);
}

/* Reads the directories that have no watch. Only when nothing is being read. */
static void scan_unwatched(struct watch *w)
{
    w->callbacks->rescan(w, WATCH_RESCAN_LIMIT, w->arg);
    w->round++;
    w->changed_since = w->scan_began - CLOCK_TICK;
    w->scan_began = clock_wall_ns();
    w->limited = false; /* until one of them proves it again */
    for (size_t i = 0; i < w->tree.name_buckets; i++)
        for (struct watch_node *node = w->tree.names[i]; node; node = node->hash_next)
            if (node->is_dir && watch_node_dir(node)->wd < 0)
                enqueue(w, watch_node_dir(node), false);
}

static void self_event(struct watch *w, struct watch_dir *dir, uint32_t mask)
{
    /* A directory below the root is told by its parent's event. */
    if (dir != w->tree.root)
        return;
    if (mask & IN_ATTRIB)
        tell(w, EVENT_CHMOD, &dir->node);
    if (mask & IN_MOVE_SELF)
        look_at_root(w, EVENT_RENAME);
    if (mask & (IN_DELETE_SELF | IN_UNMOUNT | IN_IGNORED))
        root_lost(w, EVENT_REMOVE);
}

static void created(struct watch *w, struct watch_dir *dir, struct str name, bool is_dir)
{
    struct watch_node *node = watch_tree_find(&w->tree, dir, name);
    if (node && node->is_dir == is_dir && w->consumed < node->told_until) {
        node->told_until = 0; /* reading the directory was faster: told, and entered if need be */
        return;
    }
    if (node && (is_dir || node->is_dir)) { /* another directory than the one we knew */
        watch_tree_remove(&w->tree, node, node_gone, w);
        node = NULL;
    }
    if (!node && !(node = add_name(w, dir, name, is_dir)))
        return;
    node->round = w->round & 0x7fffffff;
    tell(w, EVENT_CREATE, node);
    if (is_dir && w->options.recursive)
        enqueue(w, watch_node_dir(node), true);
}

static void gone(struct watch *w, struct watch_dir *dir, struct str name, enum event_type type)
{
    struct watch_node *node = watch_tree_find(&w->tree, dir, name);
    if (!node)
        return; /* told by a rescan */
    tell(w, type, node);
    watch_tree_remove(&w->tree, node, node_gone, w);
}

static void changed(struct watch *w, struct watch_dir *dir, struct str name, enum event_type type)
{
    struct watch_node *node = watch_tree_find(&w->tree, dir, name);
    if (node)
        tell(w, type, node);
}

static void handle(struct watch *w, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW) {
        overflowed(w);
        return;
    }
    if (watch_way_concerns(&w->way, event->wd, event->mask, event->len ? event->name : NULL))
        look_at_root(w, event->mask & (IN_DELETE | IN_DELETE_SELF) ? EVENT_REMOVE : EVENT_RENAME);
    struct watch_dir *dir = watch_tree_by_wd(&w->tree, event->wd);
    if (!dir)
        return; /* of a directory that has left the tree */
    if (event->len == 0) {
        self_event(w, dir, event->mask);
        return;
    }
    struct str name = str_from(event->name);
    bool is_dir = event->mask & IN_ISDIR;
    if (is_ours(event->name)) {
        if (event->mask & IN_MOVED_FROM)
            w->hidden_cookie = event->cookie;
        return;
    }
    if (event->mask & IN_MOVED_TO && event->cookie && event->cookie == w->hidden_cookie &&
        watch_tree_find(&w->tree, dir, name))
        return; /* an upload over a file: its CHMOD and WRITE follow */
    if (event->mask & (IN_CREATE | IN_MOVED_TO))
        created(w, dir, name, is_dir);
    if (event->mask & IN_MOVED_FROM)
        gone(w, dir, name, EVENT_RENAME);
    if (event->mask & IN_ATTRIB)
        changed(w, dir, name, EVENT_CHMOD);
    if (event->mask & IN_MODIFY)
        changed(w, dir, name, EVENT_WRITE);
    if (event->mask & IN_DELETE)
        gone(w, dir, name, EVENT_REMOVE);
}

/* Handles what was read; stops before the next event when a directory is to be read first. */
static void handle_input(struct watch *w)
{
    while (w->input_at < w->input_len && TAILQ_EMPTY(&w->pending) && !w->failed) {
        struct inotify_event head;
        memcpy(&head, w->input + w->input_at, sizeof head);
        const struct inotify_event *event = (const void *)(w->input + w->input_at);
        size_t size = sizeof head + head.len;
        handle(w, event);
        w->input_at += size;
        w->consumed += (int64_t)size;
    }
    if (w->input_at == w->input_len) {
        free(w->input);
        w->input = NULL;
        w->input_at = w->input_len = 0;
    }
}

/* 1: something was read, 0: the queue is empty. */
static int read_input(struct watch *w)
{
    int64_t now = clock_wall_ns();
    w->input = xmalloc(READ_SIZE);
    ssize_t n = read(w->fd, w->input, READ_SIZE);
    if (n > 0) {
        w->input_len = (size_t)n;
        return 1;
    }
    w->whole_at = now;
    free(w->input);
    w->input = NULL;
    return 0;
}

static void turn(struct watch *w);

static void on_again(uv_timer_t *timer)
{
    turn(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    turn(poll->data);
}

/* Waits for the kernel, or, when there is more to do already, for the next turn of the loop. */
static void wait_for(struct watch *w, bool more)
{
    if (w->failed || w->paused || more)
        uv_poll_stop(&w->poll);
    else
        uv_poll_start(&w->poll, UV_READABLE, on_readable);
    if (more && !w->failed && !w->paused)
        uv_timer_start(&w->again, on_again, 0, 0);
}

/* One round of work. False: there is more to do without waiting for the kernel. */
static bool work(struct watch *w)
{
    if (!read_slice(w))
        return false;
    if (!w->ready && w->waiting && !w->options.wait)
        fail(w, ENOENT, w->path); /* gone since it was opened */
    if (!w->ready && !w->failed) {
        w->ready = true;
        w->callbacks->ready(w, w->arg);
    }
    if (!w->input && !w->failed && !read_input(w))
        return true;
    handle_input(w);
    return w->failed;
}

/* Looks where no event will tell. */
static void look(struct watch *w)
{
    if (w->waiting)
        wait_for_root(w);
    else if (w->limited && TAILQ_EMPTY(&w->pending))
        scan_unwatched(w);
}

static void on_look(uv_timer_t *timer)
{
    struct watch *w = timer->data;
    if (!w->failed && !w->paused)
        look(w);
    turn(w);
}

/* A look costs little against the time between two. */
static void plan_look(struct watch *w)
{
    int64_t took = (clock_wall_ns() - w->scan_began) / CLOCK_MS;
    int64_t pause = took * 10 < RESCAN_MS ? RESCAN_MS : took * 10;
    if (w->limited && !w->failed && !w->paused && !uv_is_active((uv_handle_t *)&w->look))
        uv_timer_start(&w->look, on_look, (uint64_t)pause, 0);
}

static void turn(struct watch *w)
{
    if (w->failed || w->closing)
        return;
    owners_refresh(&w->owners);
    bool done = false;
    for (int i = 0; i < 4 && !done && !w->paused; i++)
        done = work(w);
    if (!w->failed)
        w->callbacks->settled(w, w->arg);
    wait_for(w, !done);
    if (done)
        plan_look(w);
}

void watch_catch_up(struct watch *w)
{
    owners_refresh(&w->owners);
    if (!w->failed && !w->paused)
        look(w);
    int64_t limit = clock_mono_ns() + CATCH_UP;
    bool done = false;
    while (!w->failed && !w->paused && !done && clock_mono_ns() < limit)
        done = work(w);
    if (!w->failed)
        w->callbacks->settled(w, w->arg);
    wait_for(w, !done && !w->failed && !w->paused);
}

void watch_pause(struct watch *w)
{
    w->paused = true;
    uv_timer_stop(&w->again);
    uv_timer_stop(&w->look);
    uv_poll_stop(&w->poll);
}

void watch_resume(struct watch *w)
{
    if (!w->paused)
        return;
    w->paused = false;
    if (w->failed)
        return;
    if (w->waiting)
        wait_for_root(w); /* its timer has been stopped */
    wait_for(w, true);
}

/* ---- opening and closing ---- */

static bool is_network(const char *path)
{
    static const unsigned magics[] = {0x6969, 0xff534d42, 0x517b, 0xfe534d42, 0x65735546};
    struct statfs fs;
    if (statfs(path, &fs) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
        if ((unsigned)fs.f_type == magics[i])
            return true;
    return false;
}

static int check_root(const char *path, const struct watch_options *options, struct err *err)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return err_set(err, ERR_NOT_FOUND, 0, "path not found: %s", path);
        return err_set(err, ERR_INTERNAL, errno, "look at '%s'", path);
    }
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, 0, "path is not a directory: %s", path);
    if (!options->network_mounts && is_network(path))
        return err_set(err, ERR_INVALID, 0, "cannot watch a network file system: %s", path);
    return 0;
}

int watch_open(uv_loop_t *loop, const char *path, const struct watch_options *options,
               const struct watch_callbacks *callbacks, void *arg, struct watch **ret,
               struct err *err)
{
    int r = check_root(path, options, err);
    bool is_missing = r < 0 && options->wait && err->code == ERR_NOT_FOUND;
    if (r < 0 && !is_missing)
        return r;
    int fd = inotify_acquire();
    if (fd < 0)
        return err_set(err, fd == -EMFILE || fd == -ENFILE ? ERR_EXHAUSTED : ERR_INTERNAL, -fd,
                       "no more watchers can be made");
    struct watch *w = xcalloc(1, sizeof *w);
    w->loop = loop;
    w->options = *options;
    w->callbacks = callbacks;
    w->arg = arg;
    w->fd = fd;
    w->path = xstrdup(path);
    w->whole_at = clock_wall_ns();
    TAILQ_INIT(&w->pending);
    watch_tree_init(&w->tree);
    uv_poll_init(loop, &w->poll, fd);
    uv_timer_init(loop, &w->again);
    uv_timer_init(loop, &w->look);
    w->poll.data = w->again.data = w->look.data = w;
    w->handles = 3;
    watch_way_init(&w->way, fd, w->path);
    w->waiting = true;
    wait_for_root(w);
    wait_for(w, true);
    *ret = w;
    return 0;
}

static void forget_wds(struct watch *w)
{
    for (size_t i = 0; i < w->tree.wd_buckets; i++)
        for (struct watch_dir *dir = w->tree.wds[i]; dir; dir = dir->wd_next)
            inotify_rm_watch(w->fd, dir->wd);
}

static void handle_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    if (--w->handles)
        return;
    watch_way_leave(&w->way);
    if (w->tree.wd_count <= SPARE_WDS)
        forget_wds(w);
    inotify_release(w->loop, w->fd, w->tree.wd_count <= SPARE_WDS);
    if (w->reading)
        closedir(w->reading);
    bool was_large = w->tree.name_count > LARGE_TREE;
    watch_tree_done(&w->tree);
    owners_done(&w->owners);
    free(w->input);
    free(w->path);
    free(w);
    if (was_large)
        malloc_trim(64 * 1024);
}

void watch_close(struct watch *w)
{
    if (!w || w->closing)
        return;
    w->closing = true;
    uv_close((uv_handle_t *)&w->poll, handle_closed);
    uv_close((uv_handle_t *)&w->again, handle_closed);
    uv_close((uv_handle_t *)&w->look, handle_closed);
}
