/* SPDX-License-Identifier: Apache-2.0 */
/* Listings of sandboxes. */
#include "server/api.h"

#include "base/mem.h"
#include "server/list_query.h"
#include "server/sandbox_list.h"
#include "server/sandbox_record.h"
#include "server/server.h"

static int compare(const void *a, const void *b, void *arg)
{
    const struct sandbox *const *x = a, *const *y = b;
    return list_query_compare(arg, (*x)->started, (*x)->id, (*y)->started, (*y)->id);
}

/* All that match, in order; the caller frees the array. */
static struct sandbox **collect(struct api_request *r, struct list_query *query, size_t *ret_count,
                                size_t *ret_running)
{
    struct sandbox_list *list = r->server->sandboxes;
    struct sandbox **found = xcalloc(sandbox_list_count(list) + 1, sizeof *found), *sb;
    *ret_count = *ret_running = 0;
    for (sb = sandbox_list_first(list); sb; sb = sandbox_list_next(sb)) {
        const char *state = sandbox_state_name(sb);
        if (!sandbox_visible(sb) || strcmp(sb->project, r->project) != 0 ||
            !(list_query_matches(query, state, sb->started, sb->shown, sb->metadata) ||
              list_query_matches(query, state, sb->started, sb->alias, sb->metadata)))
            continue;
        *ret_running += strcmp(state, "running") == 0;
        if (list_query_beyond_token(query, sb->started, sb->id))
            found[(*ret_count)++] = sb;
    }
    qsort_r(found, *ret_count, sizeof *found, compare, query);
    return found;
}

static void list(struct api_request *r, bool legacy)
{
    struct list_query query;
    struct err err;
    if (list_query_parse(r->head->query, legacy, &query, &err) < 0) {
        api_reply_err(r, &err);
        list_query_done(&query);
        return;
    }
    size_t count, running;
    _cleanup_free_ struct sandbox **found = collect(r, &query, &count, &running);
    json_t *page = json_array();
    size_t n = count < (uint64_t)query.limit ? count : (size_t)query.limit;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(page, sandbox_record_listed(found[i]));
    if (n < count) {
        char token[LIST_TOKEN_SIZE];
        list_query_token(&query, found[n - 1]->started, found[n - 1]->id, token);
        http_respond_header(r->x, "X-Next-Token", token);
    }
    if (query.running)
        http_respond_headerf(r->x, "X-Total-Running", "%zu", running);
    list_query_done(&query);
    api_reply_json(r, 200, page);
}

void api_sandbox_list_v1(struct api_request *r)
{
    list(r, true);
}

void api_sandbox_list_v2(struct api_request *r)
{
    list(r, false);
}
