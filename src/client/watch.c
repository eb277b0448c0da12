/* SPDX-License-Identifier: Apache-2.0 */
/* Watching a directory: a stream of changes. */
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/call.h"
#include "client/fields.h"

struct carrel_watch {
    struct carrel_sandbox *sandbox;
    struct call_stream *stream;
    pthread_mutex_t lock; /* one reader at a time */
    json_t *message;      /* that the last event points into */
};

static const struct {
    const char *wire;
    const char *name;
} changes[] = {
    [CARREL_CHANGE_OTHER] = {"", "other"},
    [CARREL_CHANGE_CREATE] = {"EVENT_TYPE_CREATE", "create"},
    [CARREL_CHANGE_WRITE] = {"EVENT_TYPE_WRITE", "write"},
    [CARREL_CHANGE_REMOVE] = {"EVENT_TYPE_REMOVE", "remove"},
    [CARREL_CHANGE_RENAME] = {"EVENT_TYPE_RENAME", "rename"},
    [CARREL_CHANGE_CHMOD] = {"EVENT_TYPE_CHMOD", "chmod"},
};

const char *carrel_change_name(enum carrel_change change)
{
    return (size_t)change < ARRAY_SIZE(changes) ? changes[change].name : changes[0].name;
}

static enum carrel_change take_change(const char *wire)
{
    for (size_t i = 1; i < ARRAY_SIZE(changes); i++)
        if (strcmp(changes[i].wire, wire) == 0)
            return (enum carrel_change)i;
    return CARREL_CHANGE_OTHER;
}

/* The next message; watch->message. */
static int next(struct carrel_watch *watch, int64_t deadline_ns, struct carrel_error *err)
{
    struct str text;
    json_decref(watch->message);
    watch->message = NULL;
    int rc = call_stream_next(watch->stream, deadline_ns, &text, err);
    if (rc == 0)
        return error_set(err, CARREL_CUT, "the watch ended");
    if (rc == -CARREL_CUT)
        return call_explain_cut(watch->sandbox, rc, err);
    return rc < 0 ? rc : call_parse(text, &watch->message, err);
}

static json_t *open_message(const char *path, const struct carrel_watch_options *o)
{
    json_t *message = json_pack("{s:s, s:b, s:b}", "path", path, "recursive", o && o->recursive,
                                "allowNetworkMounts", o && o->network_mounts);
    if (message && o && o->wait)
        json_object_set_new(message, "waitForPath", json_true());
    return message;
}

int carrel_watch_start(struct carrel_sandbox *sandbox, const char *path,
                       const struct carrel_watch_options *options, const struct carrel_call *call,
                       struct carrel_watch **ret, struct carrel_error *err)
{
    struct carrel_watch *watch = xcalloc(1, sizeof *watch);
    watch->sandbox = sandbox;
    pthread_mutex_init(&watch->lock, NULL);
    int rc = call_stream_open(sandbox, "filesystem.Filesystem/WatchDir",
                              open_message(path, options), 0, call, &watch->stream, err);
    if (rc == 0)
        rc = next(watch, 0, err);
    if (rc == 0 && !json_object_get(watch->message, "start"))
        rc = error_set(err, CARREL_SERVER, "the watch did not begin");
    if (rc < 0)
        carrel_watch_free(watch);
    else
        *ret = watch;
    return rc;
}

int carrel_watch_next(struct carrel_watch *watch, int64_t timeout_ms, struct carrel_event *ret,
                      struct carrel_error *err)
{
    int64_t deadline_ns = timeout_ms < 0 ? 0 : clock_mono_ns() + timeout_ms * CLOCK_MS;
    json_t *event;
    int rc;
    pthread_mutex_lock(&watch->lock);
    do {
        rc = next(watch, deadline_ns, err);
        event = json_object_get(watch->message, "filesystem");
    } while (rc == 0 && !event); /* signs of life */
    if (rc == 0)
        *ret = (struct carrel_event){take_change(fields_text(event, "type")),
                                     fields_text(event, "name")};
    pthread_mutex_unlock(&watch->lock);
    return rc;
}

void carrel_watch_free(struct carrel_watch *watch)
{
    if (!watch)
        return;
    call_stream_free(watch->stream);
    json_decref(watch->message);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
