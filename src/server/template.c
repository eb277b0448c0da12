/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of template directories. */
#include "server/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/digest.h"
#include "server/field.h"

enum { MANIFEST_MAX = 256 * 1024 };

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

static bool name_valid(struct str name)
{
    if (name.len == 0 || name.len > TEMPLATE_NAME_MAX || name.p[0] == '.')
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!name_char(name.p[i]))
            return false;
    return true;
}

static void take_part(struct str part, char out[TEMPLATE_NAME_MAX + 1])
{
    memcpy(out, part.p, part.len);
    out[part.len] = '\0';
}

int template_split_reference(struct str text, struct template_reference *ret, struct err *err)
{
    char lower[4 * TEMPLATE_NAME_MAX];
    text = str_trim(text);
    if (text.len == 0 || text.len > sizeof lower)
        return err_set(err, ERR_INVALID, 0, "\"templateID\" must name a template");
    for (size_t i = 0; i < text.len; i++)
        lower[i] = text.p[i] >= 'A' && text.p[i] <= 'Z' ? (char)(text.p[i] + 32) : text.p[i];
    struct str tag = {lower, text.len}, name, space = STR("");
    str_split(&tag, ':', &name);
    bool has_space = str_find(name, '/') < name.len;
    if (has_space)
        str_split(&name, '/', &space);
    if (!name_valid(name) || (has_space && !name_valid(space)) || (tag.p && !name_valid(tag)))
        return err_set(err, ERR_INVALID, 0, "invalid template reference '%.*s'", (int)text.len,
                       lower);
    take_part(space, ret->space);
    take_part(name, ret->name);
    take_part(tag.p ? tag : STR(""), ret->tag);
    return 0;
}

int template_parse_reference(struct str text, char ret_name[TEMPLATE_NAME_MAX + 1], struct err *err)
{
    struct template_reference reference;
    int rc = template_split_reference(text, &reference, err);
    if (rc < 0)
        return rc;
    if (*reference.tag && strcmp(reference.tag, "default") != 0)
        return err_set(err, ERR_NOT_FOUND, 0, "tag '%s' does not exist for template '%s'",
                       reference.tag, reference.name);
    memcpy(ret_name, reference.name, sizeof reference.name);
    return 0;
}

/* A UUID (version 8: ours) out of the manifest's digest. */
static void make_build_id(struct str manifest, char out[TEMPLATE_BUILD_ID_SIZE])
{
    unsigned char d[DIGEST_SIZE];
    char hex[DIGEST_HEX_SIZE];
    digest_sha256(manifest, d);
    d[6] = (unsigned char)((d[6] & 0x0f) | 0x80);
    d[8] = (unsigned char)((d[8] & 0x3f) | 0x80);
    digest_hex(d, hex);
    snprintf(out, TEMPLATE_BUILD_ID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
             hex + 16, hex + 20);
}

static int read_number(const json_t *manifest, const char *name, uint64_t *ret, struct err *err)
{
    int64_t value = 0;
    int rc = field_integer(manifest, name, 1, INT32_MAX, &value, err);
    *ret = (uint64_t)value;
    return rc;
}

static int read_manifest(const json_t *manifest, struct template *t, struct err *err)
{
    const char *user = NULL, *workdir = NULL, *built = NULL;
    json_t *envs = NULL;
    int rc;
    if ((rc = field_string(manifest, "defaultUser", &user, err)) < 0 ||
        (rc = field_string(manifest, "defaultWorkdir", &workdir, err)) < 0 ||
        (rc = field_string(manifest, "builtAt", &built, err)) < 0 ||
        (rc = field_string_map(manifest, "envs", &envs, err)) < 0 ||
        (rc = read_number(manifest, "memoryMB", &t->memory_mb, err)) < 0 ||
        (rc = read_number(manifest, "cpuCount", &t->cpu_count, err)) < 0 ||
        (rc = read_number(manifest, "diskSizeMB", &t->disk_mb, err)) < 0)
        return rc;
    json_t *services = json_object_get(manifest, "services");
    if (services && !json_is_array(services))
        return err_set(err, ERR_INVALID, 0, "\"services\" must be an array");
    t->services = json_incref(services);
    t->default_user = user ? xstrdup(user) : NULL;
    t->default_workdir = workdir ? xstrdup(workdir) : NULL;
    t->envs = envs ? json_incref(envs) : json_object();
    if (built)
        clock_parse(str_from(built), &t->built);
    return 0;
}

int template_load(const char *templates_dir, const char *name, struct template *ret,
                  struct err *err)
{
    struct template t = {0};
    _cleanup_free_ char *path = xasprintf("%s/%s/manifest.json", templates_dir, name);
    _cleanup_free_ char *text = NULL;
    struct stat st;
    size_t len;

    int rc = fd_read_file(AT_FDCWD, path, MANIFEST_MAX, &text, &len);
    if (rc == -ENOENT || rc == -ENOTDIR)
        return err_set(err, ERR_NOT_FOUND, 0, "template '%s' not found", name);
    if (rc < 0)
        return err_set(err, ERR_INTERNAL, -rc, "template '%s': manifest.json", name);
    json_t *manifest = field_parse_object((struct str){text, len}, err);
    if (manifest)
        rc = read_manifest(manifest, &t, err);
    if (!manifest || rc < 0) {
        json_decref(manifest);
        char why[sizeof err->message];
        snprintf(why, sizeof why, "%s", err ? err->message : "");
        return err_set(err, ERR_INTERNAL, 0, "template '%s': manifest.json: %s", name, why);
    }
    json_decref(manifest);
    snprintf(t.name, sizeof t.name, "%s", name);
    if (t.built == 0 && stat(path, &st) == 0)
        t.built = st.st_mtim.tv_sec * CLOCK_S + st.st_mtim.tv_nsec;
    make_build_id((struct str){text, len}, t.build_id);
    *ret = t;
    return 0;
}

void template_done(struct template *t)
{
    free(t->default_user);
    free(t->default_workdir);
    json_decref(t->envs);
    json_decref(t->services);
    memset(t, 0, sizeof *t);
}

void template_each(const char *templates_dir, template_fn *each, void *arg)
{
    struct dirent **entries;
    int count = scandir(templates_dir, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        struct template t;
        struct err err;
        if (name_valid(str_from(entries[i]->d_name))) {
            int rc = template_load(templates_dir, entries[i]->d_name, &t, &err);
            if (rc == 0) {
                each(&t, arg);
                template_done(&t);
            } else if (rc != -ENOENT) {
                log_warning("template left out", "%s", err.message);
            }
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}
