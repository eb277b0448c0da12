/* SPDX-License-Identifier: Apache-2.0 */
/* What a watcher believes to exist below its root: the names, and for directories the kernel's watch
 * descriptor. It is what lets a watcher tell after a lost event what has changed, and which event it
 * has told already. Memory: about 60 bytes and the name per entry. Knows no inotify. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/str.h"

struct watch_node {
    struct watch_dir *parent; /* NULL: the root */
    LIST_ENTRY(watch_node) sibling;
    struct watch_node *hash_next;
    int64_t told_until; /* a creation reported by the kernel before this point is told already */
    uint32_t hash;
    uint32_t round : 31; /* the last rescan that found it */
    uint32_t is_dir : 1;
};

struct watch_dir {
    struct watch_node node; /* first: a node with is_dir is one of these */
    LIST_HEAD(, watch_node) children;
    struct watch_dir *wd_next;
    TAILQ_ENTRY(watch_dir) pending; /* of the owner: waiting to be read */
    bool is_pending;
    bool is_new; /* its content is news; otherwise only what differs is */
    int wd;      /* -1: none */
};

struct watch_tree {
    struct watch_dir *root;
    struct watch_node **names;
    size_t name_buckets, name_count;
    struct watch_dir **wds;
    size_t wd_buckets, wd_count;
};

void watch_tree_init(struct watch_tree *t);
/* Frees all nodes, without a word. */
void watch_tree_done(struct watch_tree *t);

/* The name is borrowed. NULL if there is none. */
struct watch_node *watch_tree_find(struct watch_tree *t, struct watch_dir *parent, struct str name);
/* The name must not be there yet. */
struct watch_node *watch_tree_add(struct watch_tree *t, struct watch_dir *parent, struct str name,
                                  bool is_dir);
/* Called for each node that goes, what is in a directory before it. */
typedef void watch_tree_gone_fn(struct watch_node *node, void *arg);
/* Takes out a node (not the root) with everything below. */
void watch_tree_remove(struct watch_tree *t, struct watch_node *node, watch_tree_gone_fn *gone,
                       void *arg);

void watch_tree_set_wd(struct watch_tree *t, struct watch_dir *dir, int wd);
struct watch_dir *watch_tree_by_wd(struct watch_tree *t, int wd);

const char *watch_node_name(const struct watch_node *node);
/* Appends the path below the root, "a/b"; nothing for the root itself. 0 or -ENOBUFS. */
int watch_node_path(const struct watch_node *node, struct buf *out);

static inline struct watch_dir *watch_node_dir(struct watch_node *node)
{
    return node->is_dir ? (struct watch_dir *)(void *)node : NULL;
}
