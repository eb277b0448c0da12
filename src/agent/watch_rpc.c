/* SPDX-License-Identifier: Apache-2.0 */
/* filesystem.WatchDir, a stream, and the polled watchers: CreateWatcher, GetWatcherEvents,
 * RemoveWatcher. A client that does not take its events makes the kernel queue them, and a rescan
 * tells what that could not hold (watch.h): memory per watcher is bounded. */
#include <sys/queue.h>

#include "agent/handlers.h"
#include "agent/resolve.h"
#include "agent/watch.h"
#include "base/mem.h"
#include "base/random.h"
#include "rpc/envelope.h"
#include "rpc/jsonx.h"
#include "rpc/stream.h"

enum {
    STREAM_QUEUE = 256 * 1024, /* bytes not yet taken by the peer, above which the kernel queues */
    BATCH = 32 * 1024,         /* bytes of events sent together */
    BATCH_MAX = 8 << 20,       /* with an event beyond it */
    POLL_QUEUE = 1 << 20,      /* the same for a polled watcher */
    POLL_QUEUE_MAX = 16 << 20, /* with what one directory being read adds to it */
    ID_SIZE = 22,              /* "w", the agent's mark, and random characters, with the NUL */
    MARK_SIZE = 6,
    WATCHERS_MAX = 256,
};

static int open_watch(struct agent *agent, const struct rpc_request *request, const json_t *in,
                      const struct watch_callbacks *callbacks, void *arg, struct watch **ret,
                      struct err *err)
{
    struct str text = STR("");
    struct watch_options options = {0};
    _cleanup_free_ char *path = NULL;
    int r = jsonx_text(in, "path", &text, err);
    r = r < 0 ? r : jsonx_bool(in, "recursive", &options.recursive, err);
    r = r < 0 ? r : jsonx_bool(in, "includeEntry", &options.include_entry, err);
    r = r < 0 ? r : jsonx_bool(in, "allowNetworkMounts", &options.network_mounts, err);
    r = r < 0 ? r : jsonx_bool(in, "waitForPath", &options.wait, err);
    r = r < 0 ? r : resolve_path(request->user, agent->config.default_workdir, text, &path, err);
    return r < 0 ? r : watch_open(agent->loop, path, &options, callbacks, arg, ret, err);
}

/* ---- streams ---- */

struct watch_stream {
    struct watch *watch;
    struct rpc_stream *stream;
    bool is_json;
    struct buf batch; /* envelopes of events, sent together: a storm has very many small ones */
};

static void flush(struct watch_stream *s)
{
    if (buf_len(&s->batch))
        rpc_stream_send_raw(s->stream, buf_ptr(&s->batch), buf_len(&s->batch));
    buf_clear(&s->batch);
}

/* A message behind those before it. */
static void send_message(struct watch_stream *s, struct str json)
{
    if (!s->is_json || envelope_append(&s->batch, 0, json) < 0)
        rpc_stream_send(s->stream, json);
    else if (buf_len(&s->batch) >= BATCH)
        flush(s);
}

static void stream_ready(struct watch *w, void *arg)
{
    struct watch_stream *s = arg;
    rpc_stream_send(s->stream, STR("{\"start\":{}}"));
}

static void stream_event(struct watch *w, struct str json, void *arg)
{
    struct watch_stream *s = arg;
    struct buf message;
    buf_init(&message, json.len + 64);
    buf_append_z(&message, "{\"filesystem\":");
    buf_append_str(&message, json);
    buf_append_char(&message, '}');
    send_message(s, buf_str(&message));
    buf_done(&message);
    if (rpc_stream_queued(s->stream) > STREAM_QUEUE)
        watch_pause(w);
}

static void stream_settled(struct watch *w, void *arg)
{
    flush(arg);
}

static const char *reason_text(enum watch_rescan reason)
{
    return reason == WATCH_RESCAN_OVERFLOW ? "RESCAN_REASON_OVERFLOW" : "RESCAN_REASON_WATCH_LIMIT";
}

static void stream_rescan(struct watch *w, enum watch_rescan reason, void *arg)
{
    struct watch_stream *s = arg;
    struct buf message;
    buf_init(&message, 128);
    buf_printf(&message, "{\"rescan\":{\"reason\":\"%s\"}}", reason_text(reason));
    send_message(s, buf_str(&message));
    buf_done(&message);
}

static void stream_failed(struct watch *w, const struct err *err, void *arg)
{
    struct watch_stream *s = arg;
    flush(s);
    rpc_stream_end(s->stream, err);
}

static void stream_drained(struct rpc_stream *stream, void *arg)
{
    struct watch_stream *s = arg;
    watch_resume(s->watch);
}

static void stream_closed(struct rpc_stream *stream, void *arg)
{
    struct watch_stream *s = arg;
    watch_close(s->watch);
    buf_done(&s->batch);
    free(s);
}

void rpc_filesystem_watch_dir(struct agent *agent, const struct rpc_request *request, json_t *in)
{
    static const struct watch_callbacks callbacks = {stream_ready, stream_event, stream_settled,
                                                     stream_rescan, stream_failed};
    static const struct rpc_stream_events events = {.drained = stream_drained,
                                                    .closed = stream_closed};
    struct err err;
    struct watch_stream *s = xcalloc(1, sizeof *s);
    s->is_json = request->head->codec == RPC_CODEC_JSON;
    buf_init(&s->batch, BATCH_MAX);
    if (open_watch(agent, request, in, &callbacks, s, &s->watch, &err) < 0) {
        free(s);
        rpc_respond_error(request->exchange, request->head, &err);
        return;
    }
    s->stream =
        rpc_stream_open(request->exchange, request->head, STR("{\"keepalive\":{}}"), &events, s);
}

/* ---- polled watchers ---- */

struct watcher {
    LIST_ENTRY(watcher) link;
    struct watchers *owner;
    char id[ID_SIZE];
    struct watch *watch;
    struct buf events;              /* JSON objects, a comma between them */
    struct http_exchange *creating; /* waits for the whole tree to be watched; NULL afterwards */
    struct rpc_head head;           /* of that exchange */
    uint32_t rescans;               /* since the events were last fetched */
    bool failed;
    struct err err;
};

struct watchers {
    LIST_HEAD(, watcher) list;
    unsigned count;
    char mark[MARK_SIZE +
              1]; /* ids of this agent's watchers begin so: one of a dead agent's is known */
};

static struct watchers *get_watchers(struct agent *agent)
{
    if (!agent->watchers) {
        agent->watchers = xcalloc(1, sizeof *agent->watchers);
        LIST_INIT(&agent->watchers->list);
        random_id(agent->watchers->mark, MARK_SIZE);
    }
    return agent->watchers;
}

static void remove_watcher(struct watcher *w)
{
    LIST_REMOVE(w, link);
    w->owner->count--;
    watch_close(w->watch);
    buf_done(&w->events);
    free(w);
}

static void watcher_ready(struct watch *watch, void *arg)
{
    struct watcher *w = arg;
    struct http_exchange *x = TAKE_PTR(w->creating);
    json_t *out = json_pack("{s:s}", "watcherId", w->id);
    http_exchange_on(x, NULL, NULL);
    rpc_respond(x, out);
    json_decref(out);
}

static void watcher_event(struct watch *watch, struct str json, void *arg)
{
    struct watcher *w = arg;
    if (buf_len(&w->events))
        buf_append_char(&w->events, ',');
    buf_append_str(&w->events, json);
    if (buf_len(&w->events) > POLL_QUEUE)
        watch_pause(watch);
}

static void watcher_settled(struct watch *watch, void *arg)
{
}

static void watcher_rescan(struct watch *watch, enum watch_rescan reason, void *arg)
{
    struct watcher *w = arg;
    w->rescans++;
}

static void watcher_failed(struct watch *watch, const struct err *err, void *arg)
{
    struct watcher *w = arg;
    w->failed = true;
    w->err = *err;
    if (w->creating) /* the watcher goes when the exchange has closed */
        rpc_respond_error(w->creating, &w->head, err);
}

/* The exchange of CreateWatcher is over before there was a watcher to tell of. */
static void creation_closed(struct http_exchange *x, void *arg)
{
    remove_watcher(arg);
}

void rpc_filesystem_create_watcher(struct agent *agent, const struct rpc_request *request,
                                   json_t *in)
{
    static const struct watch_callbacks callbacks = {watcher_ready, watcher_event, watcher_settled,
                                                     watcher_rescan, watcher_failed};
    static const struct http_exchange_events events = {.closed = creation_closed};
    struct watchers *all = get_watchers(agent);
    struct err err;
    struct watcher *w = xcalloc(1, sizeof *w);
    int r = all->count >= WATCHERS_MAX
                ? err_set(&err, ERR_EXHAUSTED, 0, "more than %d watchers", WATCHERS_MAX)
                : 0;
    if (r == 0)
        r = open_watch(agent, request, in, &callbacks, w, &w->watch, &err);
    if (r < 0) {
        free(w);
        rpc_respond_error(request->exchange, request->head, &err);
        return;
    }
    w->owner = all;
    w->id[0] = 'w';
    memcpy(w->id + 1, all->mark, MARK_SIZE);
    random_id(w->id + 1 + MARK_SIZE, ID_SIZE - 2 - MARK_SIZE);
    buf_init(&w->events, POLL_QUEUE_MAX);
    w->creating = request->exchange;
    w->head = *request->head;
    LIST_INSERT_HEAD(&all->list, w, link);
    all->count++;
    http_exchange_on(request->exchange, &events, w);
}

static int find_watcher(struct agent *agent, const json_t *in, struct watcher **ret,
                        struct err *err)
{
    struct str id = STR("");
    int r = jsonx_text(in, "watcherId", &id, err);
    if (r < 0)
        return r;
    struct watcher *w;
    struct watchers *all = get_watchers(agent);
    LIST_FOREACH(w, &all->list, link)
    {
        if (!w->creating && str_eqz(id, w->id)) {
            *ret = w;
            return 0;
        }
    }
    bool is_foreign =
        id.len != ID_SIZE - 1 || id.p[0] != 'w' || memcmp(id.p + 1, all->mark, MARK_SIZE) != 0;
    return err_set(err, ERR_NOT_FOUND, 0, "watcher with id '%.*s' not found%s",
                   id.len > 64 ? 64 : (int)id.len, id.p,
                   is_foreign ? ": it is not of this agent; if the sandbox's agent was replaced, "
                                "create another and look at the directory anew"
                              : "");
}

/* All that has happened before the call is in the answer, unless it is more than POLL_QUEUE. */
void rpc_filesystem_get_watcher_events(struct agent *agent, const struct rpc_request *request,
                                       json_t *in)
{
    struct watcher *w;
    struct err err;
    if (find_watcher(agent, in, &w, &err) < 0) {
        rpc_respond_error(request->exchange, request->head, &err);
        return;
    }
    watch_catch_up(w->watch);
    if (w->failed && buf_len(&w->events) == 0) {
        rpc_respond_error(request->exchange, request->head, &w->err);
        return;
    }
    if (buf_len(&w->events) == 0 && !w->rescans) {
        rpc_respond(request->exchange, NULL);
        return;
    }
    struct buf out;
    buf_init(&out, POLL_QUEUE_MAX + 64);
    buf_append_z(&out, "{\"events\":[");
    buf_append_str(&out, buf_str(&w->events));
    buf_append_char(&out, ']');
    if (w->rescans)
        buf_printf(&out, ",\"rescans\":%u", w->rescans);
    buf_append_char(&out, '}');
    rpc_respond_text(request->exchange, buf_str(&out));
    buf_done(&out);
    buf_done(&w->events);
    w->rescans = 0;
    watch_resume(w->watch);
}

void rpc_filesystem_remove_watcher(struct agent *agent, const struct rpc_request *request,
                                   json_t *in)
{
    struct watcher *w;
    struct err err;
    if (find_watcher(agent, in, &w, &err) < 0) {
        rpc_respond_error(request->exchange, request->head, &err);
        return;
    }
    remove_watcher(w);
    rpc_respond(request->exchange, NULL);
}
