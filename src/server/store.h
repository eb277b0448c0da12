/* SPDX-License-Identifier: Apache-2.0 */
/* What must outlive the server: API keys and the sandboxes that clients know of. The only file that
 * knows SQLite. Writes are synchronous but wait for no disk (WAL, synchronous=NORMAL): a killed
 * process loses nothing, a power cut ends all sandboxes anyway. Several processes may have the
 * same store open (`carrel key` beside a server). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct store;

/* Opens or makes <dir>/carrel.db. A database of a newer version is refused. One that is damaged is put
 * aside, and its copy takes its place: carrel-copy.db, in which every change is made, too. 0 or -errno. */
int store_open(const char *dir, struct store **ret, struct err *err);
enum store_found {
    STORE_WHOLE,
    STORE_RESTORED, /* out of the copy */
    STORE_LOST,     /* both were damaged: it is empty */
};
enum store_found store_found(const struct store *store);
/* Makes the copy anew, as the one process that keeps the store open does at its start. A failure costs
 * the copy only. 0 or negative. */
int store_copy(struct store *store, struct err *err);
void store_close(struct store *store);

/* ---- sandboxes ---- */
struct store_sandbox {
    const char *id;
    const char *project;
    const char *template_name;
    const char *state;    /* "running", "paused" or "cold" */
    int64_t started;      /* wall-clock nanoseconds */
    int64_t life_started; /* creation or last resume */
    int64_t end;
    const char *record; /* JSON: everything else, see sandbox_record.h */
};

int store_put_sandbox(struct store *store, const struct store_sandbox *row, struct err *err);
/* Changes what changes during a life. */
int store_update_sandbox(struct store *store, const char *id, const char *state,
                         int64_t life_started, int64_t end, struct err *err);
int store_delete_sandbox(struct store *store, const char *id, struct err *err);
/* The row is valid during the call; a negative return ends the walk and is returned. */
typedef int store_sandbox_fn(const struct store_sandbox *row, void *arg);
int store_each_sandbox(struct store *store, store_sandbox_fn *each, void *arg, struct err *err);

/* ---- snapshots ---- */
struct store_snapshot {
    const char *id;
    const char *project;
    const char *name; /* "": none */
    const char *tag;
    const char *sandbox; /* that it is of */
    const char *template_name;
    int64_t created;
    const char *record; /* JSON: everything else, see snapshot.h */
};

int store_put_snapshot(struct store *store, const struct store_snapshot *row, struct err *err);
int store_delete_snapshot(struct store *store, const char *id, struct err *err);
typedef int store_snapshot_fn(const struct store_snapshot *row, void *arg);
/* Oldest first; as store_each_sandbox. */
int store_each_snapshot(struct store *store, store_snapshot_fn *each, void *arg, struct err *err);

/* ---- events ---- */
struct store_event {
    const char *sandbox;
    const char *project;
    int64_t at; /* wall-clock nanoseconds */
    int level;  /* enum event_level */
    const char *message;
    const char *fields; /* JSON object */
};
struct store_event_query {
    const char *sandbox;
    const char *project;
    int64_t from, to; /* inclusive */
    int level;        /* the least */
    const char *search; /* in the message; "": all */
    bool backward;      /* the newest first */
    int64_t limit;
};

enum { STORE_EVENTS_MAX = 100000 }; /* of all sandboxes: the oldest go */
/* Not part of the copy. */
int store_add_event(struct store *store, const struct store_event *event, struct err *err);
typedef void store_event_fn(const struct store_event *event, void *arg);
int store_each_event(struct store *store, const struct store_event_query *query,
                     store_event_fn *each, void *arg, struct err *err);

/* ---- keys ---- */
enum { STORE_HASH_SIZE = 32 };
struct store_key {
    const char *name;
    const char *project;
    const char *hint; /* beginning of the key, for listings */
    const unsigned char *hash;
    int64_t created;
    int64_t revoked; /* 0: valid */
};

/* -EEXIST when a valid key has the name. */
int store_add_key(struct store *store, const struct store_key *key, struct err *err);
/* -ENOENT when no valid key has the name. The hash tells which key it was. */
int store_revoke_key(struct store *store, const char *name, int64_t now,
                     unsigned char ret_hash[STORE_HASH_SIZE], struct err *err);
typedef void store_key_fn(const struct store_key *key, void *arg);
/* All keys, revoked ones too, oldest first. */
int store_each_key(struct store *store, store_key_fn *each, void *arg, struct err *err);
/* A number that changes when another process has changed the store. */
int64_t store_data_version(struct store *store);
