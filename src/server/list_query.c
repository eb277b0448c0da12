/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of listing queries and page tokens. */
#include "server/list_query.h"

#include <errno.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/head.h"

/* ---- metadata ---- */

/* Decoded into a fresh C string; NULL for a bad escape or a NUL. */
static char *decode(struct str text, bool plus_is_space)
{
    char *out = xmalloc(text.len + 1);
    int64_t n = str_percent_decode(text, plus_is_space, out);
    if (n < 0 || memchr(out, '\0', (size_t)n)) {
        free(out);
        return NULL;
    }
    out[n] = '\0';
    return out;
}

static int add_pair(struct list_query *q, struct str text)
{
    struct str value = text, name;
    str_split(&value, '=', &name);
    if (!value.p || str_find(value, '=') < value.len || q->pair_count == LIST_PAIRS_MAX)
        return -EINVAL;
    struct list_pair *pair = &q->pairs[q->pair_count++];
    pair->name[0] = decode(name, true);
    pair->value[0] = decode(value, true);
    if (!pair->name[0] || !pair->value[0])
        return -EINVAL;
    pair->name[1] = decode(str_from(pair->name[0]), false);
    pair->value[1] = decode(str_from(pair->value[0]), false);
    return 0;
}

static int parse_metadata(struct list_query *q, struct str text, struct err *err)
{
    struct str part;
    if (text.len == 0)
        return 0;
    while (str_split(&text, '&', &part)) {
        if (part.len > 0 && add_pair(q, part) < 0)
            return err_set(err, ERR_INVALID, 0, "Invalid metadata query: \"%.*s\" is not key=value",
                           (int)(part.len < 80 ? part.len : 80), part.p);
    }
    return 0;
}

static bool pair_matches(const struct list_pair *pair, const json_t *metadata)
{
    for (int n = 0; n < 2; n++) {
        if (!pair->name[n])
            continue;
        const char *value = json_string_value(json_object_get(metadata, pair->name[n]));
        for (int v = 0; value && v < 2; v++)
            if (pair->value[v] && strcmp(value, pair->value[v]) == 0)
                return true;
    }
    return false;
}

/* ---- other parameters ---- */

static int parse_states(struct list_query *q, struct str text, struct err *err)
{
    struct str part;
    q->running = q->paused = false;
    while (str_split(&text, ',', &part)) {
        if (str_eqz(part, "running"))
            q->running = true;
        else if (str_eqz(part, "paused"))
            q->paused = true;
        else
            return err_set(err, ERR_INVALID, 0, "\"state\" must be running, paused or both");
    }
    return 0;
}

/* base64url of "<start ns>__<id>__<asc|desc>" */
static int parse_token(struct list_query *q, struct str text)
{
    char raw[LIST_TOKEN_SIZE];
    struct str rest, part;
    if (text.len > LIST_TOKEN_SIZE - 8)
        return -EINVAL;
    ssize_t n = base64_decode(text, raw);
    if (n < 0)
        return -EINVAL;
    rest = (struct str){raw, (size_t)n};
    if (!str_split(&rest, '_', &part) || str_to_i64(part, 0, INT64_MAX, &q->token_started) < 0)
        return -EINVAL;
    if (!str_split(&rest, '_', &part) || part.len > 0)
        return -EINVAL;
    if (!str_split(&rest, '_', &part) || part.len > ROUTE_ID_MAX ||
        route_parse_id(part, q->token_id) < 0)
        return -EINVAL;
    if (!str_split(&rest, '_', &part) || part.len > 0 || !rest.p)
        return -EINVAL;
    if (!str_eqz(rest, q->ascending ? "asc" : "desc"))
        return -EINVAL; /* the order was changed between pages */
    q->has_token = true;
    return 0;
}

static int parse_one(struct list_query *q, const char *name, struct str value, struct err *err)
{
    if (strcmp(name, "metadata") == 0)
        return parse_metadata(q, value, err);
    if (strcmp(name, "state") == 0)
        return parse_states(q, value, err);
    if (strcmp(name, "order") == 0) {
        q->ascending = str_eqz(value, "asc");
        if (!q->ascending && !str_eqz(value, "desc"))
            return err_set(err, ERR_INVALID, 0, "\"order\" must be asc or desc");
    } else if (strcmp(name, "limit") == 0) {
        if (str_to_i64(value, 1, LIST_LIMIT_MAX, &q->limit) < 0)
            return err_set(err, ERR_INVALID, 0, "\"limit\" must be an integer from 1 to %d",
                           LIST_LIMIT_MAX);
    } else if (strcmp(name, "startedAfter") == 0) {
        if (clock_parse(value, &q->started_after) < 0)
            return err_set(err, ERR_INVALID, 0, "\"startedAfter\" must be a time in RFC 3339");
    } else if (strcmp(name, "template") == 0) {
        q->no_template = template_parse_reference(value, q->template_name, NULL) < 0;
    } else if (value.len > 0 && parse_token(q, value) < 0) {
        return err_set(err, ERR_INVALID, 0, "Invalid next token");
    }
    return 0;
}

int list_query_parse(struct str query, bool legacy, struct list_query *ret, struct err *err)
{
    /* order before nextToken, which must agree with it */
    static const char *const names[] = {"metadata", "state",        "order",    "limit",
                                        "template", "startedAfter", "nextToken"};
    struct buf value;
    int rc = 0;
    *ret = (struct list_query){
        .running = true, .paused = !legacy, .limit = LIST_LIMIT_MAX, .started_after = INT64_MIN};
    if (legacy)
        ret->limit = INT64_MAX;
    buf_init(&value, HTTP_HEAD_BYTES_MAX);
    for (size_t i = 0; i < (legacy ? 1 : ARRAY_SIZE(names)) && rc == 0; i++) {
        bool bad = false;
        bool found = http_query_get(query, names[i], &value, &bad);
        if (bad)
            rc = err_set(err, ERR_INVALID, 0, "query parameter \"%s\": bad escape", names[i]);
        else if (found)
            rc = parse_one(ret, names[i], buf_str(&value), err);
    }
    buf_done(&value);
    return rc;
}

void list_query_done(struct list_query *q)
{
    for (size_t i = 0; i < q->pair_count; i++) {
        for (int k = 0; k < 2; k++) {
            free(q->pairs[i].name[k]);
            free(q->pairs[i].value[k]);
        }
    }
    q->pair_count = 0;
}

/* ---- use ---- */

bool list_query_matches(const struct list_query *q, const char *state, int64_t started,
                        const char *template_name, const json_t *metadata)
{
    bool paused = strcmp(state, "paused") == 0;
    if (q->no_template || !(paused ? q->paused : q->running) || started < q->started_after)
        return false;
    if (*q->template_name && strcmp(q->template_name, template_name) != 0)
        return false;
    for (size_t i = 0; i < q->pair_count; i++)
        if (!pair_matches(&q->pairs[i], metadata))
            return false;
    return true;
}

int list_query_compare(const struct list_query *q, int64_t a_started, const char *a_id,
                       int64_t b_started, const char *b_id)
{
    int order = a_started < b_started ? -1 : a_started > b_started ? 1 : strcmp(a_id, b_id);
    return q->ascending ? order : -order;
}

bool list_query_beyond_token(const struct list_query *q, int64_t started, const char *id)
{
    return !q->has_token || list_query_compare(q, started, id, q->token_started, q->token_id) > 0;
}

void list_query_token(const struct list_query *q, int64_t started, const char *id,
                      char ret[LIST_TOKEN_SIZE])
{
    char raw[80];
    int n = snprintf(raw, sizeof raw, "%lld__%s__%s", (long long)started, id,
                     q->ascending ? "asc" : "desc");
    size_t len = base64_encode(raw, (size_t)n, ret);
    while (len > 0 && ret[len - 1] == '=')
        len--;
    ret[len] = '\0';
    for (size_t i = 0; i < len; i++)
        ret[i] = ret[i] == '+' ? '-' : ret[i] == '/' ? '_' : ret[i];
}
