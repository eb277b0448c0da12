/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's configuration. */
#include "agent/config.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/connect.h"
#include "rpc/jsonx.h"

static void free_envs(struct agent_env *envs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(envs[i].name);
        free(envs[i].value);
    }
    free(envs);
}

static void free_services(struct agent_service *services, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (char **arg = services[i].argv; arg && *arg; arg++)
            free(*arg);
        free(services[i].argv);
        free(services[i].user);
    }
    free(services);
}

const struct agent_service *agent_service_copy(const struct agent_service *service)
{
    size_t n = 0;
    while (service->argv[n])
        n++;
    struct agent_service *copy = xmalloc(sizeof *copy);
    *copy = (struct agent_service){.argv = xcalloc(n + 1, sizeof *copy->argv),
                                   .user = service->user ? xstrdup(service->user) : NULL};
    for (size_t i = 0; i < n; i++)
        copy->argv[i] = xstrdup(service->argv[i]);
    return copy;
}

void agent_config_done(struct agent_config *config)
{
    free(config->sandbox_id);
    free(config->template_id);
    free(config->default_user);
    free(config->default_workdir);
    free_envs(config->envs, config->env_count);
    free_services(config->services, config->service_count);
    *config = (struct agent_config){0};
}

/* An empty text counts as not configured. */
static int text_copy(const json_t *in, const char *name, char **ret, struct err *err)
{
    struct str text;
    int rc = jsonx_text(in, name, &text, err);
    if (rc == 1 && text.len)
        *ret = xstrndup(text.p, text.len);
    return rc;
}

static int parse_envs(const json_t *in, struct agent_config *config, struct err *err)
{
    json_t *envs = NULL, *value;
    const char *name;
    int rc = jsonx_object(in, "envs", &envs, err);
    if (rc <= 0)
        return rc;
    config->envs = xcalloc(json_object_size(envs), sizeof *config->envs);
    json_object_foreach (envs, name, value) {
        if (!*name || strchr(name, '=') || !json_is_string(value))
            return err_set(err, ERR_INVALID, 0, "field 'envs' has a bad name or value at '%.64s'",
                           name);
        config->envs[config->env_count++] =
            (struct agent_env){xstrdup(name), xstrdup(json_string_value(value))};
    }
    return 0;
}

static int parse_limits(const json_t *in, struct agent_config *config, struct err *err)
{
    int64_t memory = 0;
    int rc = jsonx_i64(in, "memoryBytes", &memory, err);
    if (rc >= 0)
        rc = jsonx_u32(in, "cpuMillis", &config->cpu_millis, err);
    if (rc >= 0)
        rc = jsonx_u32(in, "pids", &config->pids, err);
    if (rc < 0)
        return rc;
    if (memory < 0)
        return err_set(err, ERR_INVALID, 0, "field 'memoryBytes' must not be negative");
    config->memory_bytes = (uint64_t)memory;
    return 0;
}

static int parse_bytes(const json_t *in, const char *name, uint64_t *ret, struct err *err)
{
    int64_t bytes = 0;
    int rc = jsonx_i64(in, name, &bytes, err);
    if (rc >= 0 && bytes < 0)
        return err_set(err, ERR_INVALID, 0, "field '%s' must not be negative", name);
    *ret = (uint64_t)bytes;
    return rc;
}

static int parse_spool(const json_t *in, struct agent_config *config, struct err *err)
{
    json_t *spool = NULL;
    int rc = jsonx_u32(in, "finishedSeconds", &config->finished_s, err);
    if (rc >= 0)
        rc = jsonx_object(in, "spool", &spool, err);
    if (rc <= 0)
        return rc;
    rc = parse_bytes(spool, "memoryBytes", &config->spool_memory_bytes, err);
    if (rc >= 0)
        rc = parse_bytes(spool, "diskBytes", &config->spool_disk_bytes, err);
    if (rc >= 0)
        rc = parse_bytes(spool, "processBytes", &config->spool_process_bytes, err);
    if (rc >= 0)
        rc = jsonx_u32(spool, "holdSeconds", &config->hold_s, err);
    config->hold_given = rc == 1;
    return rc;
}

static int parse_service(const json_t *in, struct agent_service *service, struct err *err)
{
    json_t *command = NULL, *arg;
    size_t i;
    int rc = jsonx_array(in, "command", &command, err);
    if (rc < 0 || (rc = text_copy(in, "user", &service->user, err)) < 0)
        return rc;
    if (json_array_size(command) == 0)
        return err_set(err, ERR_INVALID, 0, "field 'services' has one without a command");
    service->argv = xcalloc(json_array_size(command) + 1, sizeof *service->argv);
    json_array_foreach (command, i, arg) {
        if (!json_is_string(arg))
            return err_set(err, ERR_INVALID, 0, "field 'command' must be a list of texts");
        service->argv[i] = xstrdup(json_string_value(arg));
    }
    return 0;
}

static int parse_services(const json_t *in, struct agent_config *config, struct err *err)
{
    json_t *services = NULL, *one;
    size_t i;
    int rc = jsonx_array(in, "services", &services, err);
    if (rc <= 0)
        return rc;
    config->services = xcalloc(json_array_size(services) + 1, sizeof *config->services);
    json_array_foreach (services, i, one) {
        config->service_count++;
        if ((rc = parse_service(one, &config->services[i], err)) < 0)
            return rc;
    }
    return 0;
}

static int parse_members(const json_t *in, struct agent_config *config, struct err *err)
{
    int rc = text_copy(in, "sandboxId", &config->sandbox_id, err);
    if (rc >= 0)
        rc = text_copy(in, "templateId", &config->template_id, err);
    if (rc >= 0)
        rc = text_copy(in, "defaultUser", &config->default_user, err);
    if (rc >= 0)
        rc = text_copy(in, "defaultWorkdir", &config->default_workdir, err);
    if (rc >= 0)
        rc = parse_envs(in, config, err);
    if (rc >= 0)
        rc = parse_services(in, config, err);
    if (rc >= 0)
        rc = parse_limits(in, config, err);
    if (rc >= 0)
        rc = parse_spool(in, config, err);
    if (rc >= 0 && config->default_workdir && config->default_workdir[0] != '/')
        return err_set(err, ERR_INVALID, 0, "field 'defaultWorkdir' must be an absolute path");
    return rc < 0 ? rc : 0;
}

int agent_config_parse(const char *json, size_t len, struct agent_config *config, struct err *err)
{
    struct agent_config fresh = {0};
    json_t *in;
    int rc = rpc_decode((struct str){json, len}, &in, err);
    if (rc < 0)
        return rc;
    rc = parse_members(in, &fresh, err);
    json_decref(in);
    if (rc < 0) {
        agent_config_done(&fresh);
        return rc;
    }
    agent_config_done(config);
    *config = fresh;
    return 0;
}

const char *agent_config_env(const struct agent_config *config, const char *name)
{
    for (size_t i = 0; i < config->env_count; i++)
        if (strcmp(config->envs[i].name, name) == 0)
            return config->envs[i].value;
    return NULL;
}
