/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes as the control API lists them, page by page. */
#include "client/sandbox_list.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/call.h"
#include "client/fields.h"

enum { PAGE = 100, TOKEN_SIZE = 512, LIST_MAX = 100000 };

/* What a list's memory is: the texts, and what points into them. */
struct memory {
    json_t *array;
    struct carrel_sandbox_info items[];
};

static void fill(struct carrel_sandbox_info *info, const json_t *object)
{
    json_t *metadata = json_object_get(object, "metadata");
    *info = (struct carrel_sandbox_info){
        .id = fields_text(object, "sandboxID"),
        .template_id = fields_text(object, "templateID"),
        .name = fields_text(metadata, "name"),
        .state = fields_text(object, "state"),
        .started_ms = fields_time_ms(object, "startedAt"),
        .end_ms = fields_time_ms(object, "endAt"),
        .cpu_count = fields_integer(object, "cpuCount"),
        .memory_mb = fields_integer(object, "memoryMB"),
        .disk_mb = fields_integer(object, "diskSizeMB"),
        .metadata = fields_to_pairs(metadata),
    };
}

void sandbox_list_take(json_t *array, struct carrel_sandbox_list *ret)
{
    size_t n = json_array_size(array);
    struct memory *memory = xmalloc(sizeof *memory + n * sizeof *memory->items);
    memory->array = array;
    for (size_t i = 0; i < n; i++)
        fill(&memory->items[i], json_array_get(array, i));
    *ret = (struct carrel_sandbox_list){memory->items, n, memory};
}

void carrel_sandbox_list_done(struct carrel_sandbox_list *list)
{
    struct memory *memory = list->memory;
    for (size_t i = 0; i < list->count; i++)
        free((void *)memory->items[i].metadata);
    if (memory)
        json_decref(memory->array);
    free(memory);
    *list = (struct carrel_sandbox_list){0};
}

/* ---- asking ---- */

static void add_escaped(struct buf *out, const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, 0);
    buf_append_z(out, escaped ? escaped : "");
    curl_free(escaped);
}

/* The value is a query of its own: encoded in itself, and once more as a whole (protocol.md 2.2). */
static void add_metadata(struct buf *query, const struct carrel_pair *pairs)
{
    struct buf inner;
    buf_init(&inner, 1 << 20);
    for (const struct carrel_pair *p = pairs; p->name; p++) {
        if (p != pairs)
            buf_append_char(&inner, '&');
        add_escaped(&inner, p->name);
        buf_append_char(&inner, '=');
        add_escaped(&inner, p->value);
    }
    buf_append_z(query, "&metadata=");
    add_escaped(query, buf_cstr(&inner) ? buf_cstr(&inner) : "");
    buf_done(&inner);
}

static void put_path(struct buf *path, const struct carrel_sandbox_filter *filter,
                     const char *token)
{
    buf_clear(path);
    buf_printf(path, "/v2/sandboxes?limit=%d", PAGE);
    if (filter && filter->metadata && filter->metadata->name)
        add_metadata(path, filter->metadata);
    if (filter && filter->state) {
        buf_append_z(path, "&state=");
        add_escaped(path, filter->state);
    }
    if (filter && filter->template_name) {
        buf_append_z(path, "&template=");
        add_escaped(path, filter->template_name);
    }
    if (*token) {
        buf_append_z(path, "&nextToken=");
        add_escaped(path, token);
    }
}

static void keep_token(struct exchange *x, char token[TOKEN_SIZE])
{
    struct curl_header *header;
    token[0] = '\0';
    if (curl_easy_header(x->easy, "X-Next-Token", 0, CURLH_HEADER, -1, &header) == CURLHE_OK &&
        strlen(header->value) < TOKEN_SIZE)
        snprintf(token, TOKEN_SIZE, "%s", header->value);
}

/* One page, added to the array; the next one's token is "" behind the last. */
static int page(struct carrel_client *client, const char *path, const struct carrel_call *call,
                json_t *array, char token[TOKEN_SIZE], struct carrel_error *err)
{
    struct exchange x;
    json_t *answer = NULL;
    exchange_begin(&x, client, call);
    exchange_to_control(&x);
    int rc = exchange_start(&x, "GET", path, err);
    if (rc == 0)
        rc = exchange_run(&x, err);
    if (rc == 0)
        rc = call_parse(buf_str(&x.in), &answer, err);
    if (rc == 0) {
        keep_token(&x, token);
        json_array_extend(array, answer);
    }
    json_decref(answer);
    exchange_end(&x);
    return rc;
}

int carrel_sandbox_list(struct carrel_client *client, const struct carrel_sandbox_filter *filter,
                        const struct carrel_call *call, struct carrel_sandbox_list *ret,
                        struct carrel_error *err)
{
    size_t max = filter && filter->max ? filter->max : LIST_MAX;
    char token[TOKEN_SIZE] = "";
    json_t *array = json_array();
    struct buf path;
    int rc;
    buf_init(&path, 2 << 20);
    do {
        put_path(&path, filter, token);
        const char *text = buf_cstr(&path);
        rc = text ? page(client, text, call, array, token, err)
                  : error_set(err, CARREL_INVALID, "the filter is too long");
    } while (rc == 0 && *token && json_array_size(array) < max);
    buf_done(&path);
    if (rc < 0) {
        json_decref(array);
        return rc;
    }
    while (json_array_size(array) > max)
        json_array_remove(array, json_array_size(array) - 1);
    sandbox_list_take(array, ret);
    return 0;
}
