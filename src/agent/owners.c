/* SPDX-License-Identifier: Apache-2.0 */
/* Remembered names of ids. */
#include "agent/owners.h"

#include <sys/stat.h>

#include "base/mem.h"
#include "base/passwd.h"

static bool stamp_changed(const char *path, struct owners_stamp *stamp)
{
    struct stat st;
    struct owners_stamp now = {0};
    if (stat(path, &st) == 0)
        now = (struct owners_stamp){st.st_ino, st.st_size, st.st_mtim};
    bool changed = now.ino != stamp->ino || now.size != stamp->size ||
                   now.mtime.tv_sec != stamp->mtime.tv_sec ||
                   now.mtime.tv_nsec != stamp->mtime.tv_nsec;
    *stamp = now;
    return changed;
}

void owners_refresh(struct owners *o)
{
    bool passwd = stamp_changed("/etc/passwd", &o->passwd);
    bool group = stamp_changed("/etc/group", &o->group);
    if (passwd || group)
        owners_done(o);
}

static const char *find(struct owners *o, uint32_t id, bool group)
{
    for (unsigned i = 0; i < OWNERS_SLOTS && o->slots[i].name; i++)
        if (o->slots[i].id == id && o->slots[i].group == group)
            return o->slots[i].name;
    unsigned slot = o->next++ % OWNERS_SLOTS;
    free(o->slots[slot].name);
    o->slots[slot].name = group ? passwd_group_name("", id) : passwd_user_name("", id);
    o->slots[slot].id = id;
    o->slots[slot].group = group;
    return o->slots[slot].name;
}

const char *owners_user(struct owners *o, uid_t uid)
{
    return find(o, uid, false);
}

const char *owners_group(struct owners *o, gid_t gid)
{
    return find(o, gid, true);
}

void owners_done(struct owners *o)
{
    for (unsigned i = 0; i < OWNERS_SLOTS; i++) {
        free(o->slots[i].name);
        o->slots[i].name = NULL;
    }
    o->next = 0;
}
