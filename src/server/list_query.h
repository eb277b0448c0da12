/* SPDX-License-Identifier: Apache-2.0 */
/* The filter, order and page of a sandbox listing, read from a query (protocol.md 2.2). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "server/route.h"
#include "server/template.h"

enum { LIST_LIMIT_MAX = 100, LIST_PAIRS_MAX = 64, LIST_TOKEN_SIZE = 128 };

/* A metadata value arrives encoded once more or twice more than the query, depending on the client;
 * both readings are kept, and either may match. NULL: does not decode that way. */
struct list_pair {
    char *name[2];
    char *value[2];
};

struct list_query {
    struct list_pair pairs[LIST_PAIRS_MAX];
    size_t pair_count;
    bool running;
    bool paused;
    bool ascending;
    int64_t started_after;                     /* inclusive; INT64_MIN: all */
    char template_name[TEMPLATE_NAME_MAX + 1]; /* "": all */
    bool no_template;                          /* asked for one that cannot exist: empty list */
    int64_t limit;
    bool has_token;
    int64_t token_started;
    char token_id[ROUTE_ID_MAX + 1];
};

/* 0, or -EINVAL with err. list_query_done is due in any case. legacy: GET /sandboxes, which knows only
 * metadata. */
int list_query_parse(struct str query, bool legacy, struct list_query *ret, struct err *err);
void list_query_done(struct list_query *query);

/* Whether a sandbox with these properties is wanted, pages aside. */
bool list_query_matches(const struct list_query *query, const char *state, int64_t started,
                        const char *template_name, const json_t *metadata);
/* Sort order of two sandboxes: by start, then id, in the query's direction. */
int list_query_compare(const struct list_query *query, int64_t a_started, const char *a_id,
                       int64_t b_started, const char *b_id);
/* Whether a sandbox comes after the page that the token ends. */
bool list_query_beyond_token(const struct list_query *query, int64_t started, const char *id);
/* The token of a page that ends with this sandbox. */
void list_query_token(const struct list_query *query, int64_t started, const char *id,
                      char ret[LIST_TOKEN_SIZE]);
