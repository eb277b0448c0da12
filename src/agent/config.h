/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's configuration, made by the server and handed over at creation (and later by the
 * internal route POST /init, which replaces it). JSON:
 *
 *   {"sandboxId":"i…","templateId":"base","envs":{"K":"V"},"defaultUser":"user",
 *    "defaultWorkdir":"/home/user","memoryBytes":536870912,"cpuMillis":2000,"pids":1024,
 *    "finishedSeconds":30,
 *    "spool":{"memoryBytes":33554432,"diskBytes":268435456,"processBytes":67108864,
 *             "holdSeconds":10},
 *    "services":[{"command":["/path","arg"],"user":"root"}]}
 *
 * envs holds the sandbox-global variables complete (E2B_SANDBOX and friends, the template's, those
 * of create), in the order of protocol.md 5.2. Unknown members are ignored. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct agent_env {
    char *name;
    char *value;
};

/* A program of the template that runs for as long as the sandbox (agent/services.h). */
struct agent_service {
    char **argv; /* NULL-terminated; argv[0]: a path */
    char *user;  /* NULL: root */
};

struct agent_config {
    char *sandbox_id;
    char *template_id;
    char *default_user;    /* NULL: none configured */
    char *default_workdir; /* NULL: the user's home */
    struct agent_env *envs;
    size_t env_count;
    struct agent_service *services;
    size_t service_count;
    uint64_t memory_bytes; /* the sandbox's limit; 0: none */
    uint32_t cpu_millis;   /* thousandths of a CPU; 0: no limit */
    uint32_t pids;         /* processes and threads; 0: no limit */
    /* Of processes' output and memory (agent/process.h); 0: the standard. */
    uint32_t finished_s;          /* how long a process is remembered after its end */
    uint64_t spool_memory_bytes;  /* output held in memory, of all processes */
    uint64_t spool_disk_bytes;    /* output held on disk, of all processes */
    uint64_t spool_process_bytes; /* output held of one process */
    bool hold_given;
    uint32_t hold_s; /* how long a process waits at that bound for a reader; 0: never */
};

/* Parses JSON text. On success *config is replaced (its old content freed); on failure it is
 * untouched and err says what is wrong where. 0 or negative errno. */
int agent_config_parse(const char *json, size_t len, struct agent_config *config, struct err *err);
void agent_config_done(struct agent_config *config);
/* An own copy, never freed: of what outlives the configuration. */
const struct agent_service *agent_service_copy(const struct agent_service *service);
/* Value of a global variable, or NULL. Valid until the configuration changes. */
const char *agent_config_env(const struct agent_config *config, const char *name);
