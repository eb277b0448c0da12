/* SPDX-License-Identifier: Apache-2.0 */
/* The environment of a started process, and GET /envs, which shows the sandbox's part of it. */
#include "agent/env.h"

#include <jansson.h>

#include "agent/handlers.h"
#include "base/mem.h"

static const char standard_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* The list, and a hash table of it by name, because a request may bring tens of thousands. */
struct env {
    char **list;
    size_t count;
    uint32_t *slots; /* index into list + 1; 0 is free */
    size_t mask;
};

static uint32_t hash(const char *name, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)name[i]) * 16777619u;
    return h;
}

static void env_open(struct env *env, size_t most)
{
    size_t slots = 16;
    while (slots < most * 2)
        slots *= 2;
    *env = (struct env){
        .list = xcalloc(most + 1, sizeof *env->list),
        .slots = xcalloc(slots, sizeof *env->slots),
        .mask = slots - 1,
    };
}

static void env_set(struct env *env, const char *name, const char *value)
{
    size_t len = strlen(name);
    size_t slot = hash(name, len) & env->mask;
    char *entry = xasprintf("%s=%s", name, value);
    for (; env->slots[slot]; slot = (slot + 1) & env->mask) {
        char **old = &env->list[env->slots[slot] - 1];
        if (strncmp(*old, name, len) == 0 && (*old)[len] == '=') {
            free(*old);
            *old = entry;
            return;
        }
    }
    env->list[env->count++] = entry;
    env->slots[slot] = (uint32_t)env->count;
}

char **env_build(const struct agent_config *config, const struct passwd_user *user,
                 const struct agent_env *own, size_t own_count)
{
    struct env env;
    env_open(&env, 4 + config->env_count + own_count);
    env_set(&env, "PATH", standard_path);
    env_set(&env, "HOME", user->home);
    env_set(&env, "USER", user->name);
    env_set(&env, "LOGNAME", user->name);
    for (size_t i = 0; i < config->env_count; i++)
        env_set(&env, config->envs[i].name, config->envs[i].value);
    for (size_t i = 0; i < own_count; i++)
        env_set(&env, own[i].name, own[i].value);
    free(env.slots);
    return env.list;
}

void env_free(char **env)
{
    for (char **e = env; e && *e; e++)
        free(*e);
    free(env);
}

void handle_envs_get(struct agent *agent, struct http_exchange *x)
{
    json_t *envs = json_object();
    for (size_t i = 0; i < agent->config.env_count; i++)
        json_object_set_new(envs, agent->config.envs[i].name,
                            json_string(agent->config.envs[i].value));
    _cleanup_free_ char *text = json_dumps(envs, JSON_COMPACT);
    json_decref(envs);
    http_respond(x, 200, "application/json", text ? str_from(text) : STR("{}"));
}
