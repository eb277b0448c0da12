/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots on disk, and the layers that a sandbox made from one stands on.
 *
 * A snapshot is <state>/snapshots/<id>/: `upper`, a copy of what a sandbox had changed, constant from
 * then on; and `info`, what it stands on in turn: another snapshot, or its template, or nothing if it
 * is whole. So a sandbox's root is a stack: its own upper layer, a chain of snapshots, the template.
 * Chains are at most LAYERS_MAX long; the snapshot that would be one more is made whole instead.
 *
 * A snapshot that something stands on outlives its deletion: it is doomed, which a file of that name
 * says, and goes with its last user. Users are counted, never stored. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "box/plan.h"

enum { LAYERS_INFO_MAX = 1024 };

struct layers_info {
    char base[BOX_ID_MAX + 1]; /* the snapshot below, "": none */
    char template_name[BOX_TEMPLATE_MAX + 1];
    char rootfs[BOX_ROOTFS_SIZE]; /* of the template: which build it stands on */
    bool whole;                   /* holds the template's files, too: nothing is below */
    uint64_t bytes;
};

struct snapshot {
    LIST_ENTRY(snapshot) link;
    char id[BOX_ID_MAX + 1];
    struct layers_info info;
    bool doomed;
    bool removing;
};

struct layers {
    int dir; /* <state>/snapshots */
    LIST_HEAD(, snapshot) all;
};

int layers_info_print(const struct layers_info *info, struct buf *out);
/* 0 or -EINVAL: malformed, unknown, missing or double lines. */
int layers_info_parse(struct str text, struct layers_info *ret);

/* Moves an entry to trash, another directory, under a name of its own. 0 or -errno. */
int layers_trash(int dir, const char *name, int trash, char ret[BOX_ID_MAX + 1]);

/* Reads what is in the directory (taken over); what is half made goes to trash. 0 or negative. */
int layers_open(struct layers *layers, int dir, int trash, struct err *err);
void layers_close(struct layers *layers);

struct snapshot *layers_find(const struct layers *layers, const char *id);
/* The snapshots under `base`, the uppermost first. ERR_NOT_FOUND when one is not there (doomed ones
 * are, for who stands on them already). */
int layers_chain(const struct layers *layers, const char *base, struct box_chain *ret,
                 struct err *err);
/* Bytes of a chain, for the accounts of who stands on it. */
uint64_t layers_bytes(const struct layers *layers, const char *base);
/* Whether another snapshot that is still there stands on this one. */
bool layers_is_base(const struct layers *layers, const char *id);

/* A snapshot's directory is filled under this name and gets its own when it is complete. */
enum { LAYERS_NEW_SIZE = BOX_ID_MAX + 8 };
void layers_new_name(const char *id, char ret[LAYERS_NEW_SIZE]);
/* Writes the info into the new directory, with all in it safe on disk. Touches no list. */
int layers_seal(int dir, const char *id, const struct layers_info *info, struct err *err);
/* The directory gets its name, and the snapshot its place in the list. */
int layers_commit(struct layers *layers, const char *id, const struct layers_info *info,
                  struct err *err);
/* Marks it, on disk first. */
int layers_doom(struct layers *layers, struct snapshot *snapshot, struct err *err);
/* Takes it out of the list; its files are the caller's to remove. */
void layers_forget(struct layers *layers, struct snapshot *snapshot);
