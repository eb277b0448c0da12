/* SPDX-License-Identifier: Apache-2.0 */
/* The names a watcher knows. */
#include "agent/watch_tree.h"

#include <errno.h>

#include "base/mem.h"
#include "base/random.h"

enum { BUCKETS_FIRST = 16 };

static uint32_t hash_seed; /* file names are chosen by strangers */

static uint32_t hash_name(const struct watch_dir *parent, struct str name)
{
    uint64_t h = hash_seed ^ ((uintptr_t)parent * UINT64_C(0x9e3779b97f4a7c15));
    for (size_t i = 0; i < name.len; i++)
        h = (h ^ (unsigned char)name.p[i]) * UINT64_C(0x100000001b3);
    return (uint32_t)(h ^ (h >> 32));
}

const char *watch_node_name(const struct watch_node *node)
{
    /* Behind the struct, whichever it is. */
    return (const char *)node +
           (node->is_dir ? sizeof(struct watch_dir) : sizeof(struct watch_node));
}

static struct watch_node *new_node(struct str name, bool is_dir)
{
    size_t size = is_dir ? sizeof(struct watch_dir) : sizeof(struct watch_node);
    struct watch_node *node = xcalloc(1, size + name.len + 1);
    memcpy((char *)node + size, name.p, name.len);
    node->is_dir = is_dir;
    if (is_dir) {
        struct watch_dir *dir = watch_node_dir(node);
        LIST_INIT(&dir->children);
        dir->wd = -1;
    }
    return node;
}

void watch_tree_init(struct watch_tree *t)
{
    if (!hash_seed)
        random_bytes(&hash_seed, sizeof hash_seed);
    *t = (struct watch_tree){.root = watch_node_dir(new_node(STR(""), true))};
}

static void ignore(struct watch_node *node, void *arg)
{
}

void watch_tree_done(struct watch_tree *t)
{
    if (!t->root)
        return;
    while (!LIST_EMPTY(&t->root->children))
        watch_tree_remove(t, LIST_FIRST(&t->root->children), ignore, NULL);
    free(t->root);
    free(t->names);
    free(t->wds);
    *t = (struct watch_tree){0};
}

/* ---- names ---- */

static void grow_names(struct watch_tree *t)
{
    size_t count = t->name_buckets ? t->name_buckets * 2 : BUCKETS_FIRST;
    struct watch_node **fresh = xcalloc(count, sizeof *fresh);
    for (size_t i = 0; i < t->name_buckets; i++) {
        for (struct watch_node *node = t->names[i], *next; node; node = next) {
            next = node->hash_next;
            node->hash_next = fresh[node->hash & (count - 1)];
            fresh[node->hash & (count - 1)] = node;
        }
    }
    free(t->names);
    t->names = fresh;
    t->name_buckets = count;
}

struct watch_node *watch_tree_find(struct watch_tree *t, struct watch_dir *parent, struct str name)
{
    if (!t->name_count)
        return NULL;
    uint32_t hash = hash_name(parent, name);
    struct watch_node *node = t->names[hash & (t->name_buckets - 1)];
    while (node &&
           (node->hash != hash || node->parent != parent || !str_eqz(name, watch_node_name(node))))
        node = node->hash_next;
    return node;
}

struct watch_node *watch_tree_add(struct watch_tree *t, struct watch_dir *parent, struct str name,
                                  bool is_dir)
{
    if (t->name_count >= t->name_buckets)
        grow_names(t);
    struct watch_node *node = new_node(name, is_dir);
    node->parent = parent;
    node->hash = hash_name(parent, name);
    size_t bucket = node->hash & (t->name_buckets - 1);
    node->hash_next = t->names[bucket];
    t->names[bucket] = node;
    t->name_count++;
    LIST_INSERT_HEAD(&parent->children, node, sibling);
    return node;
}

static void remove_leaf(struct watch_tree *t, struct watch_node *node, watch_tree_gone_fn *gone,
                        void *arg)
{
    gone(node, arg);
    if (node->is_dir)
        watch_tree_set_wd(t, watch_node_dir(node), -1);
    struct watch_node **link = &t->names[node->hash & (t->name_buckets - 1)];
    while (*link != node)
        link = &(*link)->hash_next;
    *link = node->hash_next;
    t->name_count--;
    LIST_REMOVE(node, sibling);
    free(node);
}

void watch_tree_remove(struct watch_tree *t, struct watch_node *node, watch_tree_gone_fn *gone,
                       void *arg)
{
    /* Down to a leaf, take it, back to its parent: no recursion, trees may be deep. */
    for (struct watch_node *at = node;;) {
        struct watch_dir *dir = watch_node_dir(at);
        if (dir && !LIST_EMPTY(&dir->children)) {
            at = LIST_FIRST(&dir->children);
            continue;
        }
        struct watch_node *up = at == node ? NULL : &at->parent->node;
        remove_leaf(t, at, gone, arg);
        if (!up)
            return;
        at = up;
    }
}

/* ---- watch descriptors ---- */

static void grow_wds(struct watch_tree *t)
{
    size_t count = t->wd_buckets ? t->wd_buckets * 2 : BUCKETS_FIRST;
    struct watch_dir **fresh = xcalloc(count, sizeof *fresh);
    for (size_t i = 0; i < t->wd_buckets; i++) {
        for (struct watch_dir *dir = t->wds[i], *next; dir; dir = next) {
            next = dir->wd_next;
            dir->wd_next = fresh[(unsigned)dir->wd & (count - 1)];
            fresh[(unsigned)dir->wd & (count - 1)] = dir;
        }
    }
    free(t->wds);
    t->wds = fresh;
    t->wd_buckets = count;
}

struct watch_dir *watch_tree_by_wd(struct watch_tree *t, int wd)
{
    if (!t->wd_count || wd < 0)
        return NULL;
    struct watch_dir *dir = t->wds[(unsigned)wd & (t->wd_buckets - 1)];
    while (dir && dir->wd != wd)
        dir = dir->wd_next;
    return dir;
}

void watch_tree_set_wd(struct watch_tree *t, struct watch_dir *dir, int wd)
{
    if (dir->wd >= 0) {
        struct watch_dir **link = &t->wds[(unsigned)dir->wd & (t->wd_buckets - 1)];
        while (*link != dir)
            link = &(*link)->wd_next;
        *link = dir->wd_next;
        t->wd_count--;
    }
    dir->wd = wd;
    if (wd < 0)
        return;
    if (t->wd_count >= t->wd_buckets)
        grow_wds(t);
    dir->wd_next = t->wds[(unsigned)wd & (t->wd_buckets - 1)];
    t->wds[(unsigned)wd & (t->wd_buckets - 1)] = dir;
    t->wd_count++;
}

/* ---- paths ---- */

int watch_node_path(const struct watch_node *node, struct buf *out)
{
    size_t total = 0;
    for (const struct watch_node *n = node; n->parent; n = &n->parent->node)
        total += strlen(watch_node_name(n)) + 1;
    if (total == 0)
        return 0;
    char *room = buf_reserve(out, total);
    if (!room)
        return -ENOBUFS;
    size_t at = total - 1; /* written from its end; the first component has no slash */
    for (const struct watch_node *n = node; n->parent; n = &n->parent->node) {
        const char *name = watch_node_name(n);
        size_t len = strlen(name);
        at -= len;
        memcpy(room + at, name, len);
        if (at)
            room[--at] = '/';
    }
    buf_added(out, total - 1);
    return 0;
}
