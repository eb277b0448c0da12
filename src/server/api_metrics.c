/* SPDX-License-Identifier: Apache-2.0 */
/* Readings of sandboxes. */
#include "server/api.h"

#include "base/mem.h"
#include "server/sample.h"
#include "server/sandbox_list.h"
#include "server/server.h"

enum { IDS_MAX = 100 };

void api_metrics_sandbox(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, false);
    int64_t start = 0, end = INT64_MAX;
    if (!sb || api_query_integer(r, "start", 0, INT64_MAX, &start) < 0 ||
        api_query_integer(r, "end", 0, INT64_MAX, &end) < 0)
        return;
    api_reply_json(r, 200, sample_range(sb, start, end));
}

static void add_latest(struct api_request *r, struct str given, json_t *sandboxes)
{
    char id[ROUTE_ID_MAX + 1];
    if (route_parse_id(given, id) < 0)
        return;
    struct sandbox *sb = sandbox_list_find(r->server->sandboxes, id);
    json_t *latest = NULL;
    if (sb && sandbox_visible(sb) && strcmp(sb->project, r->project) == 0)
        latest = sample_latest(sb);
    if (latest)
        json_object_set_new(sandboxes, id, latest);
}

void api_metrics_latest(struct api_request *r)
{
    struct buf ids;
    struct str rest, id;
    buf_init(&ids, HTTP_HEAD_BYTES_MAX);
    int rc = api_query_text(r, "sandbox_ids", &ids);
    if (rc == 0)
        api_reply_error(r, 400, "query parameter \"sandbox_ids\" is missing");
    if (rc > 0) {
        json_t *sandboxes = json_object();
        rest = buf_str(&ids);
        for (int n = 0; n < IDS_MAX && str_split(&rest, ',', &id); n++)
            add_latest(r, str_trim(id), sandboxes);
        api_reply_json(r, 200, json_pack("{s:o}", "sandboxes", sandboxes));
    }
    buf_done(&ids);
}
