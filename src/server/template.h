/* SPDX-License-Identifier: Apache-2.0 */
/* Templates as the server sees them: directories <templates>/<name> with a manifest.json and a
 * rootfs, owned by root and only read here. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { TEMPLATE_NAME_MAX = 63, TEMPLATE_BUILD_ID_SIZE = 37 };

struct template
{
    char name[TEMPLATE_NAME_MAX + 1];
    char *default_user;                    /* NULL: none */
    char *default_workdir;                 /* NULL: the user's home */
    json_t *envs;                          /* object of strings, never NULL */
    json_t *services;                      /* array for the agent (agent/config.h); NULL: none */
    uint64_t memory_mb;                    /* 0: the server's default */
    uint64_t cpu_count;                    /* 0: the server's default */
    uint64_t disk_mb;                      /* 0: the server's default */
    int64_t built;                         /* wall-clock nanoseconds */
    char build_id[TEMPLATE_BUILD_ID_SIZE]; /* a UUID that changes with the manifest */
};

/* The parts of a reference "[namespace/]alias[:tag]", trimmed and lower-cased; "" for what is not
 * there. 0 or -EINVAL. */
struct template_reference {
    char space[TEMPLATE_NAME_MAX + 1];
    char name[TEMPLATE_NAME_MAX + 1];
    char tag[TEMPLATE_NAME_MAX + 1];
};
int template_split_reference(struct str text, struct template_reference *ret, struct err *err);
/* Reads a reference "[namespace/]alias[:tag]" (protocol.md 2.1): trimmed, lower-cased, namespace and
 * the tag "default" dropped. 0 and the name; -EINVAL for what is no reference; -ENOENT with err for
 * another tag. */
int template_parse_reference(struct str text, char ret_name[TEMPLATE_NAME_MAX + 1],
                             struct err *err);
/* Loads a template by name. 0; -ENOENT with err "template '<name>' not found"; other -errno when its
 * manifest is broken. */
int template_load(const char *templates_dir, const char *name, struct template *ret,
                  struct err *err);
void template_done(struct template *template);

typedef void template_fn(const struct template *template, void *arg);
/* All templates by name; broken ones are logged and left out. */
void template_each(const char *templates_dir, template_fn *each, void *arg);
