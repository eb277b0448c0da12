/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots on disk. */
#include "box/ns/layers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"

#define INFO_FILE   "info"
#define DOOMED_FILE "doomed"

/* ---- info ---- */

enum field { FIELD_VERSION, FIELD_BASE, FIELD_TEMPLATE, FIELD_ROOTFS, FIELD_WHOLE, FIELD_BYTES, FIELDS };
static const char *const names[FIELDS] = {"version", "base", "template", "rootfs", "whole", "bytes"};

int layers_info_print(const struct layers_info *info, struct buf *out)
{
    return buf_printf(out, "version=1\nbase=%s\ntemplate=%s\nrootfs=%s\nwhole=%d\nbytes=%" PRIu64 "\n",
                      info->base, info->template_name, info->rootfs, info->whole, info->bytes);
}

static bool take_text(struct str value, char *out, size_t size)
{
    if (value.len >= size || memchr(value.p, 0, value.len))
        return false;
    memcpy(out, value.p, value.len);
    out[value.len] = '\0';
    return true;
}

static bool take_field(struct layers_info *info, int field, struct str value)
{
    uint64_t number;
    switch ((enum field)field) {
    case FIELD_VERSION:
        return str_eqz(value, "1");
    case FIELD_BASE:
        return take_text(value, info->base, sizeof info->base) &&
               (*info->base == '\0' || box_id_valid(info->base));
    case FIELD_TEMPLATE:
        return take_text(value, info->template_name, sizeof info->template_name) &&
               box_template_valid(info->template_name);
    case FIELD_ROOTFS:
        return take_text(value, info->rootfs, sizeof info->rootfs);
    case FIELD_WHOLE:
        if (str_to_u64(value, 1, &number) < 0)
            return false;
        info->whole = number;
        return true;
    case FIELD_BYTES:
        return str_to_u64(value, UINT64_MAX, &info->bytes) >= 0;
    case FIELDS:
        break;
    }
    return false;
}

int layers_info_parse(struct str text, struct layers_info *ret)
{
    struct layers_info info = {0};
    unsigned seen = 0;
    if (text.len == 0 || text.len > LAYERS_INFO_MAX || text.p[text.len - 1] != '\n')
        return -EINVAL;
    text.len--;
    struct str line;
    while (str_split(&text, '\n', &line)) {
        size_t equals = str_find(line, '=');
        int field = 0;
        if (equals == line.len)
            return -EINVAL;
        while (field < FIELDS && !str_eqz((struct str){line.p, equals}, names[field]))
            field++;
        if (field == FIELDS || (seen & (1U << field)) ||
            !take_field(&info, field, (struct str){line.p + equals + 1, line.len - equals - 1}))
            return -EINVAL;
        seen |= 1U << field;
    }
    if (seen != (1U << FIELDS) - 1)
        return -EINVAL;
    *ret = info;
    return 0;
}

/* ---- list ---- */

static struct snapshot *add(struct layers *layers, const char *id, const struct layers_info *info)
{
    struct snapshot *snapshot = xcalloc(1, sizeof *snapshot);
    snprintf(snapshot->id, sizeof snapshot->id, "%s", id);
    snapshot->info = *info;
    LIST_INSERT_HEAD(&layers->all, snapshot, link);
    return snapshot;
}

static int read_info(int dir, const char *id, struct layers_info *ret)
{
    char path[BOX_ID_MAX + 16];
    snprintf(path, sizeof path, "%s/" INFO_FILE, id);
    _cleanup_free_ char *text = NULL;
    size_t len;
    int rc = fd_read_file(dir, path, LAYERS_INFO_MAX, &text, &len);
    return rc < 0 ? rc : layers_info_parse((struct str){text, len}, ret);
}

int layers_trash(int dir, const char *name, int trash, char ret[BOX_ID_MAX + 1])
{
    char unique[BOX_ID_MAX + 1];
    random_id(unique, 20); /* another of its name may be in there still */
    if (renameat(dir, name, trash, unique) < 0)
        return -errno;
    if (ret)
        memcpy(ret, unique, sizeof unique);
    return 0;
}

static void read_one(struct layers *layers, const char *name, int trash)
{
    struct layers_info info;
    if (!box_id_valid(name) || read_info(layers->dir, name, &info) < 0) {
        layers_trash(layers->dir, name, trash, NULL); /* half made, or of no use */
        return;
    }
    char path[BOX_ID_MAX + 16];
    snprintf(path, sizeof path, "%s/" DOOMED_FILE, name);
    struct snapshot *snapshot = add(layers, name, &info);
    snapshot->doomed = faccessat(layers->dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int layers_open(struct layers *layers, int dir, int trash, struct err *err)
{
    layers->dir = dir;
    LIST_INIT(&layers->all);
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        int os = errno;
        fd_closep(&fd);
        return err_os(err, os, "read the snapshots' directory");
    }
    for (struct dirent *entry; (entry = readdir(stream));)
        if (entry->d_name[0] != '.')
            read_one(layers, entry->d_name, trash);
    closedir(stream);
    return 0;
}

void layers_close(struct layers *layers)
{
    for (struct snapshot *s; (s = LIST_FIRST(&layers->all));)
        layers_forget(layers, s);
    fd_closep(&layers->dir);
}

struct snapshot *layers_find(const struct layers *layers, const char *id)
{
    struct snapshot *s;
    LIST_FOREACH(s, &layers->all, link)
    if (strcmp(s->id, id) == 0 && !s->removing)
        return s;
    return NULL;
}

void layers_forget(struct layers *layers, struct snapshot *snapshot)
{
    (void)layers;
    LIST_REMOVE(snapshot, link);
    free(snapshot);
}

/* ---- chains ---- */

int layers_chain(const struct layers *layers, const char *base, struct box_chain *ret,
                 struct err *err)
{
    struct box_chain chain = {0};
    while (*base) {
        const struct snapshot *s = layers_find(layers, base);
        if (!s)
            return err_set(err, ERR_NOT_FOUND, 0, "snapshot %s does not exist", base);
        if (chain.count == BOX_LAYERS_MAX)
            return err_set(err, ERR_INTERNAL, 0, "snapshot %s stands on too many others", s->id);
        snprintf(chain.ids[chain.count++], sizeof chain.ids[0], "%s", s->id);
        snprintf(chain.template_name, sizeof chain.template_name, "%s", s->info.template_name);
        snprintf(chain.rootfs, sizeof chain.rootfs, "%s", s->info.rootfs);
        chain.whole = s->info.whole;
        base = s->info.base;
    }
    *ret = chain;
    return 0;
}

uint64_t layers_bytes(const struct layers *layers, const char *base)
{
    uint64_t bytes = 0;
    for (int i = 0; *base && i < BOX_LAYERS_MAX; i++) {
        const struct snapshot *s = layers_find(layers, base);
        if (!s)
            break;
        bytes += s->info.bytes;
        base = s->info.base;
    }
    return bytes;
}

bool layers_is_base(const struct layers *layers, const char *id)
{
    const struct snapshot *s;
    LIST_FOREACH(s, &layers->all, link)
    if (!s->removing && strcmp(s->info.base, id) == 0)
        return true;
    return false;
}

/* ---- changes ---- */

void layers_new_name(const char *id, char ret[LAYERS_NEW_SIZE])
{
    snprintf(ret, LAYERS_NEW_SIZE, "new-%s", id);
}

int layers_seal(int dir, const char *id, const struct layers_info *info, struct err *err)
{
    char name[LAYERS_NEW_SIZE];
    struct buf text;
    layers_new_name(id, name);
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_os(err, errno, "open snapshot %s", id);
    buf_init(&text, LAYERS_INFO_MAX);
    int rc = layers_info_print(info, &text);
    if (rc >= 0)
        rc = fd_replace_file(fd, INFO_FILE, buf_ptr(&text), buf_len(&text), 0600);
    buf_done(&text);
    if (rc < 0)
        return err_os(err, -rc, "write what snapshot %s is", id);
    return syncfs(fd) < 0 ? err_os(err, errno, "put snapshot %s on disk", id) : 0;
}

int layers_commit(struct layers *layers, const char *id, const struct layers_info *info,
                  struct err *err)
{
    char name[LAYERS_NEW_SIZE];
    layers_new_name(id, name);
    if (renameat2(layers->dir, name, layers->dir, id, RENAME_NOREPLACE) < 0)
        return err_os(err, errno, "name snapshot %s", id);
    add(layers, id, info);
    return 0;
}

int layers_doom(struct layers *layers, struct snapshot *snapshot, struct err *err)
{
    char path[BOX_ID_MAX + 16];
    snprintf(path, sizeof path, "%s/" DOOMED_FILE, snapshot->id);
    int rc = fd_replace_file(layers->dir, path, "", 0, 0600);
    if (rc < 0)
        return err_os(err, -rc, "mark snapshot %s", snapshot->id);
    snapshot->doomed = true;
    return 0;
}
