/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots as clients know them (protocol.md 2.2), and the taking of them. The files are the
 * launcher's (box/ns/layers.h); a row in the store exists as long as clients may know of one: it is
 * written after the files are safe, and deleted before they go. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "launcher/message.h"
#include "server/key.h"
#include "server/route.h"
#include "server/template.h"

struct sandbox;
struct server;
struct snapshot_list;

struct snapshot {
    LIST_ENTRY(snapshot) link;
    char id[ROUTE_ID_MAX + 1];
    char project[KEY_NAME_MAX + 1];
    char name[TEMPLATE_NAME_MAX + 1]; /* "": none */
    char tag[TEMPLATE_NAME_MAX + 1];
    char sandbox[ROUTE_ID_MAX + 1]; /* that it is of */
    char template_name[TEMPLATE_NAME_MAX + 1];
    struct launcher_limits limits; /* of that sandbox */
    json_t *env_vars;              /* of its creation: object or NULL */
    int64_t created;               /* wall-clock nanoseconds */
    bool hidden;                   /* of a fork: no row, nobody sees it */
    bool confirmed;                /* the launcher has named it */
};

struct snapshot_list *snapshot_list_new(struct server *server);
void snapshot_list_free(struct snapshot_list *list);
/* Reads the store's rows. 0 or -errno. */
int snapshot_list_load(struct snapshot_list *list, struct err *err);

/* ---- taking ---- */

/* The outcome: the id of the new snapshot, in the list as hidden; or err. The sandbox may be gone. */
typedef void snapshot_taken_fn(struct snapshot *snapshot, const struct err *err, void *arg);
/* Has the files of a running sandbox copied; several at a time wait for each other. done comes once,
 * unless it is forgotten, never from inside. */
void snapshot_take(struct sandbox *sandbox, snapshot_taken_fn *done, void *arg);
void snapshot_take_forget(struct snapshot_list *list, const void *arg);
/* The sandbox goes: those who wait are told. */
void snapshot_takes_end(struct sandbox *sandbox);

/* ---- keeping ---- */

/* Gives a hidden one a name ("": none), a row and its place among the project's; one that had the name
 * before goes. On failure it is dropped. */
int snapshot_publish(struct snapshot_list *list, struct snapshot *snapshot, const char *name,
                     const char *tag, struct err *err);
/* Deletes it: from the list, the store and, when nobody stands on it, from the disk. */
int snapshot_drop(struct snapshot_list *list, struct snapshot *snapshot, struct err *err);

/* The one that a reference of that project means, by id or name; NULL if there is none. */
struct snapshot *snapshot_find(const struct snapshot_list *list, const char *project,
                               const struct template_reference *reference);
struct snapshot *snapshot_first(const struct snapshot_list *list);
/* SnapshotInfo; the caller owns it. */
json_t *snapshot_json(const struct snapshot *snapshot);

/* ---- reconciliation with the launcher's list: begin, each it names, end ---- */
void snapshot_list_begin(struct snapshot_list *list);
void snapshot_list_named(struct snapshot_list *list, const char *id);
void snapshot_list_end(struct snapshot_list *list);
