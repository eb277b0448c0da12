/* SPDX-License-Identifier: Apache-2.0 */
/* passwd and group files. */
#include "base/passwd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

#include "base/fd.h"
#include "base/mem.h"

enum { FILE_MAX_BYTES = 4 << 20 };

static int read_table(const char *root, const char *file, char **ret, size_t *ret_len)
{
    _cleanup_free_ char *path = xasprintf("%s%s", root, file);
    return fd_read_file(AT_FDCWD, path, FILE_MAX_BYTES, ret, ret_len);
}

/* Splits a line into exactly `count` fields at ':'. */
static bool split_fields(struct str line, struct str *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!str_split(&line, ':', &fields[i]))
            return false;
    return line.p == NULL;
}

static bool parse_id(struct str s, uint32_t *ret)
{
    uint64_t value;
    if (str_to_u64(s, UINT32_MAX - 1, &value) < 0)
        return false;
    *ret = (uint32_t)value;
    return true;
}

static bool is_member(struct str members, struct str name)
{
    struct str member;
    while (str_split(&members, ',', &member))
        if (str_eq(member, name))
            return true;
    return false;
}

static void add_group(struct passwd_user *user, gid_t gid)
{
    for (size_t i = 0; i < user->group_count; i++)
        if (user->groups[i] == gid)
            return;
    if (user->group_count < PASSWD_GROUPS_MAX)
        user->groups[user->group_count++] = gid;
}

static void add_supplementary(const char *root, struct passwd_user *user)
{
    _cleanup_free_ char *table = NULL;
    size_t len;
    if (read_table(root, "/etc/group", &table, &len) < 0)
        return;
    struct str rest = {table, len}, line, fields[4];
    uint32_t gid;
    while (str_split(&rest, '\n', &line))
        if (split_fields(line, fields, 4) && parse_id(fields[2], &gid) &&
            is_member(fields[3], str_from(user->name)))
            add_group(user, gid);
}

int passwd_lookup(const char *root, struct str name, struct passwd_user *ret)
{
    _cleanup_free_ char *table = NULL;
    size_t len;
    int rc = read_table(root, "/etc/passwd", &table, &len);
    if (rc < 0)
        return rc;
    struct str rest = {table, len}, line, fields[7];
    while (name.len && str_split(&rest, '\n', &line)) {
        uint32_t uid, gid;
        if (!split_fields(line, fields, 7) || !str_eq(fields[0], name) ||
            !parse_id(fields[2], &uid) || !parse_id(fields[3], &gid))
            continue;
        *ret = (struct passwd_user){
            .name = xstrndup(name.p, name.len),
            .uid = uid,
            .gid = gid,
            .home = fields[5].len ? xstrndup(fields[5].p, fields[5].len) : xstrdup("/"),
            .shell = fields[6].len ? xstrndup(fields[6].p, fields[6].len) : xstrdup("/bin/sh"),
            .groups = xcalloc(PASSWD_GROUPS_MAX, sizeof(gid_t)),
        };
        add_group(ret, gid);
        add_supplementary(root, ret);
        return 0;
    }
    return -ENOENT;
}

void passwd_user_done(struct passwd_user *user)
{
    free(user->name);
    free(user->home);
    free(user->shell);
    free(user->groups);
    *user = (struct passwd_user){0};
}

static char *name_of(const char *root, const char *file, size_t count, uint32_t id)
{
    _cleanup_free_ char *table = NULL;
    size_t len;
    if (read_table(root, file, &table, &len) == 0) {
        struct str rest = {table, len}, line, fields[7];
        uint32_t found;
        while (str_split(&rest, '\n', &line))
            if (split_fields(line, fields, count) && parse_id(fields[2], &found) && found == id)
                return xstrndup(fields[0].p, fields[0].len);
    }
    return xasprintf("%u", id);
}

char *passwd_user_name(const char *root, uid_t uid)
{
    return name_of(root, "/etc/passwd", 7, uid);
}

char *passwd_group_name(const char *root, gid_t gid)
{
    return name_of(root, "/etc/group", 4, gid);
}
