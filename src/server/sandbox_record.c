/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes as JSON. */
#include "server/sandbox_record.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/field.h"
#include "server/server.h"

#define ENVD_VERSION "0.6.13"   /* gates features in the SDKs: protocol.md 5.10 */
#define CLIENT_ID    "6532622b" /* required, means nothing */

enum { MB = 1024 * 1024 };

static void set_string(json_t *object, const char *name, const char *value)
{
    json_object_set_new(object, name, json_string(value));
}

static void set_integer(json_t *object, const char *name, int64_t value)
{
    json_object_set_new(object, name, json_integer(value));
}

static void set_bool(json_t *object, const char *name, bool value)
{
    json_object_set_new(object, name, json_boolean(value));
}

static void set_time(json_t *object, const char *name, int64_t wall_ns)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format(wall_ns, 3, text);
    set_string(object, name, text);
}

/* ---- the store's record ---- */

int sandbox_record_save(const struct sandbox *sb, struct err *err)
{
    json_t *record = json_object();
    set_string(record, "envdToken", sb->envd_token);
    set_string(record, "trafficToken", sb->traffic_token);
    set_integer(record, "memoryBytes", (int64_t)sb->limits.memory_bytes);
    set_integer(record, "cpuMillis", sb->limits.cpu_millis);
    set_integer(record, "pids", sb->limits.pids);
    set_integer(record, "diskBytes", (int64_t)sb->limits.disk_bytes);
    set_bool(record, "allowInternet", sb->allow_internet);
    set_bool(record, "autoPause", sb->auto_pause);
    set_bool(record, "autoPauseMemory", sb->auto_pause_memory);
    set_bool(record, "autoResume", sb->auto_resume);
    set_integer(record, "timeout", sb->timeout);
    set_string(record, "base", sb->base);
    set_string(record, "shown", sb->shown);
    set_string(record, "alias", sb->alias);
    if (sb->creation_key)
        set_string(record, "creationKey", sb->creation_key);
    if (sb->env_vars)
        json_object_set(record, "envVars", sb->env_vars);
    if (sb->metadata)
        json_object_set(record, "metadata", sb->metadata);
    if (sb->network)
        json_object_set(record, "network", sb->network);
    char *text = json_dumps(record, JSON_COMPACT);
    json_decref(record);
    if (!text)
        return err_set(err, ERR_INTERNAL, 0, "sandbox record cannot be written as JSON");
    struct store_sandbox row = {
        .id = sb->id,
        .project = sb->project,
        .template_name = sb->template_name,
        .state = sandbox_stored_state(sb),
        .started = sb->started,
        .life_started = sb->life_started,
        .end = sb->end,
        .record = text,
    };
    int rc = store_put_sandbox(sb->server->store, &row, err);
    explicit_bzero(text, strlen(text));
    free(text);
    return rc;
}

static int copy_text(const json_t *record, const char *name, char *out, size_t size,
                     struct err *err)
{
    const char *text = "";
    int rc = field_string(record, name, &text, err);
    if (rc >= 0 && strlen(text) >= size)
        rc = err_set(err, ERR_INVALID, 0, "\"%s\" is too long", name);
    if (rc >= 0)
        snprintf(out, size, "%s", text);
    return rc;
}

static int load_record(struct sandbox *sb, const json_t *record, struct err *err)
{
    int64_t memory = 0, cpu = 0, pids = 0, disk = 0;
    json_t *metadata = NULL, *network = NULL, *env_vars = NULL;
    const char *creation_key = NULL;
    int rc;
    if ((rc = copy_text(record, "envdToken", sb->envd_token, TOKEN_SIZE, err)) < 0 ||
        (rc = copy_text(record, "trafficToken", sb->traffic_token, TOKEN_SIZE, err)) < 0 ||
        (rc = field_integer(record, "memoryBytes", 0, INT64_MAX, &memory, err)) < 0 ||
        (rc = field_integer(record, "cpuMillis", 0, UINT32_MAX, &cpu, err)) < 0 ||
        (rc = field_integer(record, "pids", 0, UINT32_MAX, &pids, err)) < 0 ||
        (rc = field_integer(record, "diskBytes", 0, INT64_MAX, &disk, err)) < 0 ||
        (rc = field_integer(record, "timeout", 0, INT32_MAX, &sb->timeout, err)) < 0 ||
        (rc = field_bool(record, "allowInternet", &sb->allow_internet, err)) < 0 ||
        (rc = field_bool(record, "autoPause", &sb->auto_pause, err)) < 0 ||
        (rc = field_bool(record, "autoPauseMemory", &sb->auto_pause_memory, err)) < 0 ||
        (rc = field_bool(record, "autoResume", &sb->auto_resume, err)) < 0 ||
        (rc = copy_text(record, "base", sb->base, sizeof sb->base, err)) < 0 ||
        (rc = copy_text(record, "shown", sb->shown, sizeof sb->shown, err)) < 0 ||
        (rc = copy_text(record, "alias", sb->alias, sizeof sb->alias, err)) < 0 ||
        (rc = field_string(record, "creationKey", &creation_key, err)) < 0 ||
        (rc = field_string_map(record, "envVars", &env_vars, err)) < 0 ||
        (rc = field_string_map(record, "metadata", &metadata, err)) < 0 ||
        (rc = field_object(record, "network", &network, err)) < 0)
        return rc;
    sb->limits = (struct launcher_limits){.memory_bytes = (uint64_t)memory,
                                          .cpu_millis = (uint32_t)cpu,
                                          .pids = (uint32_t)pids,
                                          .disk_bytes = (uint64_t)disk};
    sb->metadata = metadata ? json_incref(metadata) : NULL;
    sb->env_vars = env_vars ? json_incref(env_vars) : NULL;
    sb->creation_key = creation_key ? xstrdup(creation_key) : NULL;
    if (!*sb->shown) { /* the row of an older version */
        memcpy(sb->shown, sb->template_name, sizeof sb->shown);
        memcpy(sb->alias, sb->template_name, sizeof sb->alias);
    }
    sandbox_record_set_network(sb, network ? json_incref(network) : NULL);
    return 0;
}

struct sandbox *sandbox_record_load(struct server *server, const struct store_sandbox *row,
                                    struct err *err)
{
    char id[ROUTE_ID_MAX + 1];
    if (route_parse_id(str_from(row->id), id) < 0 || strcmp(id, row->id) != 0) {
        err_set(err, ERR_INVALID, 0, "bad id");
        return NULL;
    }
    json_t *record = field_parse_object(str_from(row->record), err);
    if (!record)
        return NULL;
    struct sandbox *sb = sandbox_new(server);
    memcpy(sb->id, id, sizeof id);
    snprintf(sb->project, sizeof sb->project, "%s", row->project);
    snprintf(sb->template_name, sizeof sb->template_name, "%s", row->template_name);
    sb->cold = strcmp(row->state, "cold") == 0;
    sb->state =
        sb->cold || strcmp(row->state, "paused") == 0 ? SANDBOX_PAUSED : SANDBOX_RUNNING;
    sb->started = row->started;
    sb->life_started = row->life_started;
    sb->end = row->end;
    int rc = load_record(sb, record, err);
    json_decref(record);
    if (rc < 0) {
        sandbox_free(sb);
        return NULL;
    }
    return sb;
}

struct sandbox *sandbox_record_rescue(struct server *server, const struct store_sandbox *row)
{
    struct store_sandbox bare = *row;
    struct template template;
    struct err err;
    bare.record = "{}";
    struct sandbox *sb = sandbox_record_load(server, &bare, &err);
    if (!sb)
        return NULL;
    if (template_load(server->config->templates, sb->template_name, &template, NULL) == 0) {
        sb->limits = sandbox_record_limits(server->config, &template);
        template_done(&template);
    }
    token_new(sb->envd_token);
    return sb;
}

void sandbox_record_set_template(struct sandbox *sb, const char *name)
{
    snprintf(sb->template_name, sizeof sb->template_name, "%s", name);
    memcpy(sb->shown, sb->template_name, sizeof sb->shown);
    memcpy(sb->alias, sb->template_name, sizeof sb->alias);
}

void sandbox_record_set_network(struct sandbox *sb, json_t *network)
{
    json_decref(sb->network);
    sb->network = network;
    sb->mask_host = json_string_value(json_object_get(network, "maskRequestHost"));
}

/* ---- the API's objects ---- */

static void set_common(const struct sandbox *sb, json_t *object)
{
    set_string(object, "templateID", sb->shown);
    set_string(object, "sandboxID", sb->id);
    set_string(object, "clientID", CLIENT_ID);
    set_string(object, "envdVersion", ENVD_VERSION);
    if (*sb->alias)
        set_string(object, "alias", sb->alias);
}

json_t *sandbox_record_created(const struct sandbox *sb)
{
    json_t *object = json_object();
    set_common(sb, object);
    if (*sb->envd_token)
        set_string(object, "envdAccessToken", sb->envd_token);
    json_object_set_new(object, "trafficAccessToken",
                        *sb->traffic_token ? json_string(sb->traffic_token) : json_null());
    set_string(object, "domain", sb->server->domain);
    return object;
}

json_t *sandbox_record_listed(const struct sandbox *sb)
{
    const struct launcher_limits *limits = &sb->limits;
    uint64_t memory = limits->memory_bytes ? limits->memory_bytes : sb->server->memory_total;
    uint64_t disk = limits->disk_bytes ? limits->disk_bytes : sb->server->disk_total;
    json_t *object = json_object();
    set_common(sb, object);
    set_time(object, "startedAt", sb->started);
    set_time(object, "endAt", sb->end);
    set_integer(object, "cpuCount", limits->cpu_millis ? (limits->cpu_millis + 999) / 1000 : 1);
    set_integer(object, "memoryMB", (int64_t)(memory / MB));
    set_integer(object, "diskSizeMB", (int64_t)(disk / MB));
    set_string(object, "state", sandbox_state_name(sb));
    if (sb->metadata)
        json_object_set(object, "metadata", sb->metadata);
    return object;
}

json_t *sandbox_record_detail(const struct sandbox *sb)
{
    json_t *object = sandbox_record_listed(sb), *lifecycle = json_object();
    if (*sb->envd_token)
        set_string(object, "envdAccessToken", sb->envd_token);
    set_bool(object, "allowInternetAccess", sb->allow_internet);
    set_string(object, "domain", sb->server->domain);
    if (sb->network)
        json_object_set(object, "network", sb->network);
    set_bool(lifecycle, "autoResume", sb->auto_resume);
    set_string(lifecycle, "onTimeout", sb->auto_pause ? "pause" : "kill");
    json_object_set_new(object, "lifecycle", lifecycle);
    if (sb->state == SANDBOX_PAUSED)
        set_string(object, "pauseMode", sb->cold ? "filesystem" : "full");
    return object;
}

struct launcher_limits sandbox_record_limits(const struct config *config,
                                             const struct template *template)
{
    uint64_t memory = template->memory_mb ? template->memory_mb : config->memory_mb;
    uint64_t disk = template->disk_mb ? template->disk_mb : config->disk_mb;
    uint64_t cpus = template->cpu_count ? template->cpu_count * 1000 : config->cpu_millis;
    return (struct launcher_limits){
        .memory_bytes = memory * (uint64_t)MB,
        .cpu_millis = (uint32_t)cpus,
        .pids = (uint32_t)config->pids,
        .disk_bytes = disk * (uint64_t)MB,
    };
}

/* ---- the agent's configuration ---- */

static void set_ca_variables(json_t *envs)
{
    /* Programs that bring their own bundle must be told of the system's. */
    static const char *const names[] = {"SSL_CERT_FILE",       "REQUESTS_CA_BUNDLE",
                                        "NODE_EXTRA_CA_CERTS", "PIP_CERT",
                                        "CURL_CA_BUNDLE",      "GIT_SSL_CAINFO"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        set_string(envs, names[i], "/etc/ssl/certs/ca-certificates.crt");
}

char *sandbox_record_agent_config(const struct sandbox *sb, const struct template *template,
                                  json_t *env_vars)
{
    json_t *config = json_object(), *envs = json_object();
    set_string(config, "sandboxId", sb->id);
    set_string(config, "templateId", sb->shown);
    if (template->default_user)
        set_string(config, "defaultUser", template->default_user);
    if (template->default_workdir)
        set_string(config, "defaultWorkdir", template->default_workdir);
    if (template->services)
        json_object_set(config, "services", template->services);
    if (sb->limits.memory_bytes)
        set_integer(config, "memoryBytes", (int64_t)sb->limits.memory_bytes);
    if (sb->limits.cpu_millis)
        set_integer(config, "cpuMillis", sb->limits.cpu_millis);
    if (sb->limits.pids)
        set_integer(config, "pids", sb->limits.pids);
    set_integer(config, "finishedSeconds", (int64_t)sb->server->config->keep_ended);
    json_object_update(envs, template->envs);
    if (sb->server->ca_in_force)
        set_ca_variables(envs);
    set_string(envs, "E2B_SANDBOX", "true");
    set_string(envs, "E2B_SANDBOX_ID", sb->id);
    set_string(envs, "E2B_TEMPLATE_ID", sb->shown);
    if (env_vars)
        json_object_update(envs, env_vars);
    json_object_set_new(config, "envs", envs);
    char *text = json_dumps(config, JSON_COMPACT);
    json_decref(config);
    return text;
}
