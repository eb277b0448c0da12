/* SPDX-License-Identifier: Apache-2.0 */
/* Which cgroup hierarchies a host has, from the text of mountinfo. Reads no file. */
#include <stdio.h>

#include "base/mem.h"
#include "box/ns/cgroup.h"

static const struct {
    const char *name;
    unsigned controller;
} controllers[] = {{"memory", CGROUP_MEMORY},
                   {"cpu", CGROUP_CPU},
                   {"cpuacct", CGROUP_CPUACCT},
                   {"pids", CGROUP_PIDS},
                   {"freezer", CGROUP_FREEZER}};

static unsigned parse_controllers(struct str list, char separator)
{
    unsigned found = 0;
    struct str word;
    while (str_split(&list, separator, &word))
        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
            if (str_eqz(word, controllers[i].name))
                found |= controllers[i].controller;
    return found;
}

/* Mount points have blanks and backslashes as three octal digits. False if it does not fit. */
static bool unescape(struct str s, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\\' && i + 3 < s.len) {
            c = (unsigned char)((s.p[i + 1] - '0') * 64 + (s.p[i + 2] - '0') * 8 +
                                (s.p[i + 3] - '0'));
            i += 3;
        }
        if (n + 1 >= size)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return n > 0;
}

struct mount_line {
    struct str point, type, options;
};

static bool parse_line(struct str line, struct mount_line *ret)
{
    struct str field;
    for (int i = 0; i < 5; i++)
        if (!str_split(&line, ' ', &field))
            return false;
    ret->point = field;
    /* Any number of optional fields, up to a single dash. */
    do
        if (!str_split(&line, ' ', &field))
            return false;
    while (!str_eqz(field, "-"));
    if (!str_split(&line, ' ', &ret->type) || !str_split(&line, ' ', &field))
        return false;
    ret->options = line;
    return true;
}

static void add(struct cgroup_layout *layout, struct str point, bool v2, unsigned use)
{
    if (!use || layout->count == BOX_CGROUPS_MAX)
        return;
    struct cgroup_hierarchy *h = &layout->hierarchies[layout->count];
    if (!unescape(point, h->mount, sizeof h->mount))
        return;
    h->v2 = v2;
    h->controllers = use;
    layout->count++;
}

void cgroup_layout_parse(struct str mountinfo, struct str v2_controllers, struct cgroup_layout *ret)
{
    memset(ret, 0, sizeof *ret);
    unsigned have = 0;
    struct str v2_point = {0}, rest = mountinfo, line;
    while (str_split(&rest, '\n', &line)) {
        struct mount_line mount;
        if (!parse_line(line, &mount))
            continue;
        if (str_eqz(mount.type, "cgroup2")) {
            if (!v2_point.len)
                v2_point = mount.point;
        } else if (str_eqz(mount.type, "cgroup")) {
            unsigned use = parse_controllers(mount.options, ',') & ~have;
            have |= use;
            add(ret, mount.point, false, use);
        }
    }
    if (!v2_point.len)
        return;
    if (v2_controllers.len && v2_controllers.p[v2_controllers.len - 1] == '\n')
        v2_controllers.len--;
    /* Time used and freezing belong to v2's core: every group has them. */
    unsigned use =
        (parse_controllers(v2_controllers, ' ') | CGROUP_CPUACCT | CGROUP_FREEZER) & ~have;
    add(ret, v2_point, true, use);
}
