/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of a sandbox, also of one that has ended: its events (protocol.md 2.2). */
#include "base/clock.h"
#include "base/mem.h"
#include "server/api.h"
#include "server/event.h"
#include "server/sandbox_list.h"
#include "server/server.h"
#include "server/store.h"

enum { LIMIT_MAX = 1000 };

struct answer {
    json_t *lines, *entries;
};

static void add(const struct store_event *event, void *arg)
{
    struct answer *answer = arg;
    char at[CLOCK_TEXT_SIZE];
    const char *level = event_level_names[event->level >= 0 && event->level <= EVENT_ERROR
                                              ? event->level
                                              : EVENT_INFO];
    json_t *fields = json_loads(event->fields, 0, NULL);
    clock_format(event->at, 6, at);
    if (!fields)
        fields = json_object();
    json_t *line = json_copy(fields);
    json_object_set_new(line, "level", json_string(level));
    json_object_set_new(line, "logger", json_string("carrel"));
    json_object_set_new(line, "message", json_string(event->message));
    _cleanup_free_ char *text = json_dumps(line, JSON_COMPACT);
    json_decref(line);
    json_array_append_new(answer->lines, json_pack("{s:s, s:s}", "timestamp", at, "line", text));
    json_array_append_new(answer->entries, json_pack("{s:s, s:s, s:s, s:o}", "timestamp", at,
                                                     "level", level, "message", event->message,
                                                     "fields", fields));
}

/* Fills in whose events. False: answered. One that has ended is known by its events only. */
static bool read_id(struct api_request *r, char id[ROUTE_ID_MAX + 1])
{
    if (route_parse_id(str_from(r->params[0]), id) == 0)
        return true;
    api_reply_error(r, 400, "Invalid sandbox ID");
    return false;
}

static void count(const struct store_event *event, void *arg)
{
    (void)event;
    ++*(int *)arg;
}

static bool is_known(struct api_request *r, const struct store_event_query *query,
                     const struct answer *answer)
{
    struct sandbox *sb = sandbox_list_find(r->server->sandboxes, query->sandbox);
    const struct store_event_query any = {.sandbox = query->sandbox,
                                          .project = query->project,
                                          .to = INT64_MAX,
                                          .search = "",
                                          .limit = 1};
    int events = 0;
    if (json_array_size(answer->entries) > 0 ||
        (sb && sandbox_visible(sb) && strcmp(sb->project, r->project) == 0))
        return true;
    return store_each_event(r->server->store, &any, count, &events, NULL) == 0 && events > 0;
}

static void reply(struct api_request *r, const struct store_event_query *query, bool with_entries)
{
    struct answer answer = {json_array(), json_array()};
    struct err err;
    if (store_each_event(r->server->store, query, add, &answer, &err) < 0)
        api_reply_err(r, &err);
    else if (!is_known(r, query, &answer))
        api_reply_error(r, 404, "Sandbox \"%s\" doesn't exist or you don't have access to it",
                        query->sandbox);
    else if (with_entries)
        api_reply_json(r, 200, json_pack("{s:O, s:O}", "logs", answer.lines, "logEntries",
                                         answer.entries));
    else
        api_reply_json(r, 200, json_pack("{s:O}", "logs", answer.entries));
    json_decref(answer.lines);
    json_decref(answer.entries);
}

static bool read_ms(struct api_request *r, const char *name, int64_t *ret_ns)
{
    int64_t ms;
    int rc = api_query_integer(r, name, 0, INT64_MAX / CLOCK_MS, &ms);
    if (rc > 0)
        *ret_ns = ms * CLOCK_MS;
    return rc >= 0;
}

void api_logs_v1(struct api_request *r)
{
    char id[ROUTE_ID_MAX + 1];
    struct store_event_query query = {.sandbox = id,
                                      .project = r->project,
                                      .to = INT64_MAX,
                                      .search = "",
                                      .limit = LIMIT_MAX};
    if (read_id(r, id) && read_ms(r, "start", &query.from) &&
        api_query_integer(r, "limit", 1, LIMIT_MAX, &query.limit) >= 0)
        reply(r, &query, true);
}

/* level, direction and search. False: answered. */
static bool read_filter(struct api_request *r, struct store_event_query *query, struct buf *text)
{
    enum event_level level = EVENT_DEBUG;
    int rc = api_query_text(r, "level", text);
    if (rc > 0 && !event_level_parse(buf_str(text), &level)) {
        api_reply_error(r, 400, "query parameter \"level\" must be debug, info, warn or error");
        return false;
    }
    query->level = level;
    buf_clear(text);
    if (rc < 0 || (rc = api_query_text(r, "direction", text)) < 0)
        return false;
    query->backward = rc == 0 || str_eqz(buf_str(text), "backward");
    if (!query->backward && !str_eqz(buf_str(text), "forward")) {
        api_reply_error(r, 400, "query parameter \"direction\" must be forward or backward");
        return false;
    }
    buf_clear(text);
    rc = api_query_text(r, "search", text);
    query->search = rc > 0 ? buf_cstr(text) : "";
    return rc >= 0;
}

void api_logs_v2(struct api_request *r)
{
    char id[ROUTE_ID_MAX + 1];
    struct buf text;
    int64_t cursor = -1;
    struct store_event_query query = {.sandbox = id,
                                      .project = r->project,
                                      .to = INT64_MAX,
                                      .limit = LIMIT_MAX};
    buf_init(&text, HTTP_HEAD_BYTES_MAX);
    if (read_id(r, id) && read_ms(r, "cursor", &cursor) &&
        api_query_integer(r, "limit", 1, LIMIT_MAX, &query.limit) >= 0 &&
        read_filter(r, &query, &text)) {
        if (cursor >= 0 && query.backward)
            query.to = cursor;
        else if (cursor >= 0)
            query.from = cursor;
        reply(r, &query, false);
    }
    buf_done(&text);
}
