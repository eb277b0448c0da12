/* SPDX-License-Identifier: Apache-2.0 */
/* Templates, read-only (protocol.md 2.5). */
#include "server/api.h"

#include <errno.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/server.h"
#include "server/template.h"

#define ENVD_VERSION "0.6.13"

static json_t *names(const struct template *template)
{
    return json_pack("[s]", template->name);
}

static json_t *as_json(struct api_request *r, const struct template *t)
{
    const struct config *config = r->server->config;
    uint64_t memory = t->memory_mb ? t->memory_mb : config->memory_mb;
    uint64_t disk = t->disk_mb ? t->disk_mb : config->disk_mb;
    uint64_t cpus = t->cpu_count ? t->cpu_count : (config->cpu_millis + 999) / 1000;
    char built[CLOCK_TEXT_SIZE];
    clock_format(t->built, 3, built);
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:b, s:o, s:o, s:s, s:s, s:n, s:n, s:i, s:i, s:s, s:s}",
        "templateID", t->name, "buildID", t->build_id, "cpuCount", (json_int_t)cpus, "memoryMB",
        (json_int_t)memory, "diskSizeMB", (json_int_t)(disk ? disk : r->server->disk_total >> 20),
        "public", 1, "aliases", names(t), "names", names(t), "createdAt", built, "updatedAt", built,
        "createdBy", "lastSpawnedAt", "spawnCount", 0, "buildCount", 1, "envdVersion", ENVD_VERSION,
        "buildStatus", "ready");
}

struct listing {
    struct api_request *r;
    json_t *array;
};

static void add(const struct template *template, void *arg)
{
    struct listing *listing = arg;
    json_array_append_new(listing->array, as_json(listing->r, template));
}

void api_template_list(struct api_request *r)
{
    struct listing listing = {.r = r, .array = json_array()};
    template_each(r->server->config->templates, add, &listing);
    api_reply_json(r, 200, listing.array);
}

/* The template that params[0] refers to. False: answered. */
static bool load(struct api_request *r, struct template *ret)
{
    char name[TEMPLATE_NAME_MAX + 1];
    struct err err;
    if (template_parse_reference(str_from(r->params[0]), name, &err) == 0 &&
        template_load(r->server->config->templates, name, ret, &err) == 0)
        return true;
    api_reply_err(r, &err);
    return false;
}

void api_template_get(struct api_request *r)
{
    struct template t;
    if (!load(r, &t))
        return;
    json_t *object = as_json(r, &t);
    const char *built = json_string_value(json_object_get(object, "createdAt"));
    json_t *build = json_pack("{s:s, s:s, s:s, s:s, s:s, s:O, s:O, s:O, s:s}", "buildID",
                              t.build_id, "status", "ready", "createdAt", built, "updatedAt", built,
                              "finishedAt", built, "cpuCount", json_object_get(object, "cpuCount"),
                              "memoryMB", json_object_get(object, "memoryMB"), "diskSizeMB",
                              json_object_get(object, "diskSizeMB"), "envdVersion", ENVD_VERSION);
    json_object_set_new(object, "builds", json_pack("[o]", build));
    template_done(&t);
    api_reply_json(r, 200, object);
}

void api_template_alias(struct api_request *r)
{
    struct template t;
    if (!load(r, &t))
        return;
    json_t *object = json_pack("{s:s, s:b}", "templateID", t.name, "public", 1);
    template_done(&t);
    api_reply_json(r, 200, object);
}
