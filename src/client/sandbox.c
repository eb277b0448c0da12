/* SPDX-License-Identifier: Apache-2.0 */
/* One sandbox: making it, getting hold of it, its life. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/call.h"
#include "client/fields.h"
#include "client/sandbox_list.h"

enum { ID_MAX = 64, TOKEN_MAX = 512, LIFE_S = 300, PATH_SIZE = 160 };

/* Ids go into paths and headers. */
static bool id_valid(const char *id)
{
    size_t n = strlen(id);
    return n > 0 && n <= ID_MAX && n == strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-");
}

/* Tokens go into headers. */
static char *take_word(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (!text || !*text || strlen(text) > TOKEN_MAX)
        return NULL;
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p > '~')
            return NULL;
    return xstrdup(text);
}

static int from_json(struct carrel_client *client, const json_t *object,
                     struct carrel_sandbox **ret, struct carrel_error *err)
{
    const char *id = json_string_value(json_object_get(object, "sandboxID"));
    if (!id || !id_valid(id))
        return error_set(err, CARREL_SERVER, "the answer has no usable id of a sandbox");
    struct carrel_sandbox *sandbox = xcalloc(1, sizeof *sandbox);
    sandbox->client = client;
    sandbox->id = xstrdup(id);
    sandbox->token = take_word(object, "envdAccessToken");
    sandbox->traffic_token = take_word(object, "trafficAccessToken");
    sandbox->domain = take_word(object, "domain");
    *ret = sandbox;
    return 0;
}

static json_t *create_body(const struct carrel_sandbox_options *o)
{
    int64_t life = o->timeout_s ? o->timeout_s : LIFE_S;
    json_t *body =
        json_pack("{s:s, s:I, s:b, s:b, s:o, s:o}", "templateID",
                  o->template_name ? o->template_name : "base", "timeout", (json_int_t)life,
                  "secure", 1, "allow_internet_access", o->no_internet ? 0 : 1, "metadata",
                  fields_from_pairs(o->metadata), "envVars", fields_from_pairs(o->envs));
    if (body && o->pause_at_end)
        json_object_set_new(body, "autoPause", json_true());
    if (body && o->wake_on_traffic)
        json_object_set_new(body, "autoResume", json_pack("{s:b}", "enabled", 1));
    return body;
}

int carrel_sandbox_create(struct carrel_client *client,
                          const struct carrel_sandbox_options *options,
                          const struct carrel_call *call, struct carrel_sandbox **ret,
                          struct carrel_error *err)
{
    static const struct carrel_sandbox_options defaults;
    json_t *answer = NULL, *body = create_body(options ? options : &defaults);
    if (!body)
        return error_set(err, CARREL_INVALID, "template, metadata or envs are not UTF-8");
    int rc = call_control_json(client, "POST", "/sandboxes", body, call, &answer, err);
    if (rc == 0)
        rc = from_json(client, answer, ret, err);
    json_decref(answer);
    return rc;
}

static int connect_to(struct carrel_client *client, const char *id, int64_t timeout_s,
                      const struct carrel_call *call, json_t **ret, struct carrel_error *err)
{
    char path[PATH_SIZE];
    if (!id_valid(id))
        return error_set(err, CARREL_INVALID, "\"%.64s\" is no id of a sandbox", id);
    snprintf(path, sizeof path, "/sandboxes/%s/connect", id);
    json_t *body = json_pack("{s:I}", "timeout", (json_int_t)(timeout_s ? timeout_s : LIFE_S));
    return call_control_json(client, "POST", path, body, call, ret, err);
}

int carrel_sandbox_connect(struct carrel_client *client, const char *id, int64_t timeout_s,
                           const struct carrel_call *call, struct carrel_sandbox **ret,
                           struct carrel_error *err)
{
    json_t *answer = NULL;
    int rc = connect_to(client, id, timeout_s, call, &answer, err);
    if (rc == 0)
        rc = from_json(client, answer, ret, err);
    json_decref(answer);
    return rc;
}

int carrel_sandbox_resume(struct carrel_sandbox *sandbox, int64_t timeout_s,
                          const struct carrel_call *call, struct carrel_error *err)
{
    return connect_to(sandbox->client, sandbox->id, timeout_s, call, NULL, err);
}

/* ---- finding ---- */

static int get(struct carrel_client *client, const char *id, const struct carrel_call *call,
               json_t **ret, struct carrel_error *err)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/sandboxes/%s", id);
    return call_control_json(client, "GET", path, NULL, call, ret, err);
}

/* The id that the text stands for: a name as a whole, or the beginning of one id only. */
static int choose(const struct carrel_sandbox_list *list, const char *text, const char **ret_id,
                  struct carrel_error *err)
{
    const char *by_name = NULL, *by_id = NULL;
    size_t names = 0, ids = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct carrel_sandbox_info *info = &list->items[i];
        if (strcmp(info->name, text) == 0) {
            by_name = info->id;
            names++;
        } else if (strncmp(info->id, text, strlen(text)) == 0) {
            by_id = info->id;
            ids++;
        }
    }
    if (names > 1 || (names == 0 && ids > 1))
        return error_set(err, CARREL_INVALID, "%zu sandboxes are meant by \"%.64s\"",
                         names > 1 ? names : ids, text);
    if (names + ids == 0)
        return error_set(err, CARREL_NOT_FOUND, "there is no sandbox \"%.64s\"", text);
    *ret_id = by_name ? by_name : by_id;
    return 0;
}

int carrel_sandbox_find(struct carrel_client *client, const char *text,
                        const struct carrel_call *call, struct carrel_sandbox **ret,
                        struct carrel_error *err)
{
    json_t *answer = NULL;
    int rc = -CARREL_NOT_FOUND;
    if (!*text)
        return error_set(err, CARREL_INVALID, "which sandbox? The name is empty");
    if (id_valid(text)) /* a whole id needs no list */
        rc = get(client, text, call, &answer, err);
    if (rc == -CARREL_NOT_FOUND || rc == -CARREL_INVALID) {
        struct carrel_sandbox_list list;
        const char *id = NULL;
        rc = carrel_sandbox_list(client, NULL, call, &list, err);
        if (rc < 0)
            return rc;
        rc = choose(&list, text, &id, err);
        if (rc == 0)
            rc = get(client, id, call, &answer, err);
        carrel_sandbox_list_done(&list);
    }
    if (rc == 0)
        rc = from_json(client, answer, ret, err);
    json_decref(answer);
    return rc;
}

void carrel_sandbox_free(struct carrel_sandbox *sandbox)
{
    if (!sandbox)
        return;
    free(sandbox->id);
    free(sandbox->token);
    free(sandbox->traffic_token);
    free(sandbox->domain);
    free(sandbox);
}

const char *carrel_sandbox_id(const struct carrel_sandbox *sandbox)
{
    return sandbox->id;
}

char *carrel_sandbox_url(const struct carrel_sandbox *sandbox, unsigned port)
{
    const char *scheme = strncmp(sandbox->client->sandbox_url, "https:", 6) == 0 ? "https" : "http";
    if (sandbox->domain)
        return xasprintf("%s://%u-%s.%s", scheme, port, sandbox->id, sandbox->domain);
    const char *host = strstr(sandbox->client->sandbox_url, "://") + 3;
    return xasprintf("%s://%u-%s.%s", scheme, port, sandbox->id, host);
}

/* ---- life ---- */

static int act(struct carrel_sandbox *sandbox, const char *method, const char *what, json_t *body,
               const struct carrel_call *call, struct carrel_error *err)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/sandboxes/%s%s", sandbox->id, what);
    return call_control_json(sandbox->client, method, path, body, call, NULL, err);
}

int carrel_sandbox_kill(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                        struct carrel_error *err)
{
    return act(sandbox, "DELETE", "", NULL, call, err);
}

int carrel_sandbox_set_timeout(struct carrel_sandbox *sandbox, int64_t timeout_s,
                               const struct carrel_call *call, struct carrel_error *err)
{
    json_t *body = json_pack("{s:I}", "timeout", (json_int_t)timeout_s);
    return act(sandbox, "POST", "/timeout", body, call, err);
}

int carrel_sandbox_pause(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                         struct carrel_error *err)
{
    return act(sandbox, "POST", "/pause", NULL, call, err);
}

int carrel_sandbox_check(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                         struct carrel_error *err)
{
    struct exchange x;
    exchange_begin(&x, sandbox->client, call);
    exchange_to_sandbox(&x, sandbox, CLIENT_AGENT_PORT);
    int rc = exchange_start(&x, "GET", "/health", err);
    if (rc == 0)
        rc = exchange_run(&x, err);
    exchange_end(&x);
    return rc;
}

int carrel_sandbox_info(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                        struct carrel_sandbox_list *ret, struct carrel_error *err)
{
    json_t *answer = NULL;
    int rc = get(sandbox->client, sandbox->id, call, &answer, err);
    if (rc == 0)
        sandbox_list_take(json_pack("[o]", answer), ret);
    return rc;
}

int carrel_sandbox_metrics(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                           struct carrel_metrics *ret, struct carrel_error *err)
{
    char path[PATH_SIZE];
    json_t *answer = NULL;
    snprintf(path, sizeof path, "/sandboxes/%s/metrics", sandbox->id);
    int rc = call_control_json(sandbox->client, "GET", path, NULL, call, &answer, err);
    if (rc < 0)
        return rc;
    size_t n = json_array_size(answer);
    const json_t *last = n ? json_array_get(answer, n - 1) : NULL;
    *ret = (struct carrel_metrics){
        .time_ms = fields_integer(last, "timestampUnix") * 1000,
        .cpu_percent = json_number_value(json_object_get(last, "cpuUsedPct")),
        .cpu_count = fields_integer(last, "cpuCount"),
        .memory_used = fields_integer(last, "memUsed"),
        .memory_total = fields_integer(last, "memTotal"),
        .disk_used = fields_integer(last, "diskUsed"),
        .disk_total = fields_integer(last, "diskTotal"),
    };
    json_decref(answer);
    return 0;
}
