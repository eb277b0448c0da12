/* SPDX-License-Identifier: Apache-2.0 */
/* The store on SQLite. */
#include "server/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"

enum { SCHEMA_VERSION = 3, PRUNE_EVERY = 1000 };

/* Each brings the tables from the version before to its own. */
static const char schema_1[] =
    "CREATE TABLE keys (id INTEGER PRIMARY KEY, name TEXT NOT NULL, project TEXT NOT NULL,"
    " hint TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, created INTEGER NOT NULL,"
    " revoked INTEGER NOT NULL DEFAULT 0);"
    "CREATE UNIQUE INDEX keys_name ON keys (name) WHERE revoked = 0;"
    "CREATE TABLE sandboxes (id TEXT PRIMARY KEY, project TEXT NOT NULL, template TEXT NOT NULL,"
    " state TEXT NOT NULL, started INTEGER NOT NULL, life_started INTEGER NOT NULL,"
    " ends INTEGER NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 1;";
static const char schema_2[] =
    "CREATE TABLE snapshots (id TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL,"
    " tag TEXT NOT NULL, sandbox TEXT NOT NULL, template TEXT NOT NULL, created INTEGER NOT NULL,"
    " record TEXT NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 2;";
static const char schema_3[] =
    "CREATE TABLE events (id INTEGER PRIMARY KEY, sandbox TEXT NOT NULL, project TEXT NOT NULL,"
    " at INTEGER NOT NULL, level INTEGER NOT NULL, message TEXT NOT NULL, fields TEXT NOT NULL);"
    "CREATE INDEX events_sandbox ON events (sandbox, at);"
    "PRAGMA user_version = 3;";
static const char *const schemas[SCHEMA_VERSION] = {schema_1, schema_2, schema_3};

enum statement {
    PUT_SANDBOX,
    UPDATE_SANDBOX,
    DELETE_SANDBOX,
    EACH_SANDBOX,
    PUT_SNAPSHOT,
    DELETE_SNAPSHOT,
    EACH_SNAPSHOT,
    ADD_EVENT,
    PRUNE_EVENTS,
    EVENTS_FORWARD,
    EVENTS_BACKWARD,
    ADD_KEY,
    REVOKE_KEY,
    EACH_KEY,
    DATA_VERSION,
    STATEMENTS
};

static const char *const statements[STATEMENTS] = {
    [PUT_SANDBOX] = "INSERT OR REPLACE INTO sandboxes (id, project, template, state, started,"
                    " life_started, ends, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [UPDATE_SANDBOX] =
        "UPDATE sandboxes SET state = ?2, life_started = ?3, ends = ?4 WHERE id = ?1",
    [DELETE_SANDBOX] = "DELETE FROM sandboxes WHERE id = ?1",
    [EACH_SANDBOX] = "SELECT id, project, template, state, started, life_started, ends, record"
                     " FROM sandboxes ORDER BY started, id",
    [PUT_SNAPSHOT] = "INSERT OR REPLACE INTO snapshots (id, project, name, tag, sandbox, template,"
                     " created, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [DELETE_SNAPSHOT] = "DELETE FROM snapshots WHERE id = ?1",
    [EACH_SNAPSHOT] = "SELECT id, project, name, tag, sandbox, template, created, record"
                      " FROM snapshots ORDER BY created, id",
    [ADD_EVENT] = "INSERT INTO events (sandbox, project, at, level, message, fields)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [PRUNE_EVENTS] = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?1",
#define EVENTS                                                                              \
    "SELECT sandbox, project, at, level, message, fields FROM events WHERE sandbox = ?1"    \
    " AND project = ?2 AND at BETWEEN ?3 AND ?4 AND level >= ?5 AND instr(message, ?6) > 0" \
    " ORDER BY at "
    [EVENTS_FORWARD] = EVENTS "ASC, id ASC LIMIT ?7",
    [EVENTS_BACKWARD] = EVENTS "DESC, id DESC LIMIT ?7",
    [ADD_KEY] = "INSERT INTO keys (name, project, hint, hash, created) VALUES (?1, ?2, ?3, ?4, ?5)",
    [REVOKE_KEY] = "UPDATE keys SET revoked = ?2 WHERE name = ?1 AND revoked = 0 RETURNING hash",
    [EACH_KEY] = "SELECT name, project, hint, hash, created, revoked FROM keys ORDER BY id",
    [DATA_VERSION] = "PRAGMA data_version",
};

struct store {
    sqlite3 *db;
    unsigned events; /* added by us */
    sqlite3 *copy; /* NULL: it could not be opened */
    enum store_found found;
    sqlite3_stmt *prepared[STATEMENTS];
};

static int failed(struct store *store, struct err *err, const char *doing)
{
    int code = sqlite3_errcode(store->db);
    if ((code & 0xff) == SQLITE_FULL)
        return err_set(err, ERR_NO_SPACE, ENOSPC, "database: %s", doing);
    return err_set(err, ERR_INTERNAL, 0, "database: %s: %s", doing, sqlite3_errmsg(store->db));
}

static int execute(struct store *store, const char *sql, const char *doing, struct err *err)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return failed(store, err, doing);
    return 0;
}

static int user_version(struct store *store)
{
    sqlite3_stmt *query = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &query, NULL) == SQLITE_OK &&
        sqlite3_step(query) == SQLITE_ROW)
        version = sqlite3_column_int(query, 0);
    sqlite3_finalize(query);
    return version;
}

static int migrate(struct store *store, const char *path, struct err *err)
{
    int version = user_version(store);
    if (version < 0)
        return failed(store, err, path);
    if (version > SCHEMA_VERSION)
        return err_set(err, ERR_PRECONDITION, 0,
                       "%s was written by a newer carrel (version %d, this one knows %d)", path,
                       version, SCHEMA_VERSION);
    if (version == SCHEMA_VERSION)
        return 0;
    /* IMMEDIATE: of two processes that start together, the second must look again. */
    int rc = execute(store, "BEGIN IMMEDIATE", "begin", err);
    for (version = user_version(store); rc == 0 && version < SCHEMA_VERSION; version++)
        rc = execute(store, schemas[version], "create tables", err);
    if (rc == 0)
        rc = execute(store, "COMMIT", "commit", err);
    return rc;
}

static int open_db(const char *path, sqlite3 **ret)
{
    /* A checkpoint waits for the disk, on the server's loop: seldom, then. */
    static const char settings[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                                   "PRAGMA wal_autocheckpoint = 4000;";
    mode_t old = umask(0077);
    int code = sqlite3_open_v2(path, ret, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(*ret, 2000);
    if (code == SQLITE_OK)
        code = sqlite3_exec(*ret, settings, NULL, NULL, NULL);
    umask(old);
    return code & 0xff;
}

static int expect_ok(void *arg, int count, char **values, char **names)
{
    (void)names;
    *(bool *)arg = count == 1 && values[0] && strcmp(values[0], "ok") == 0;
    return 0;
}

/* Whether it opens and all its pages make sense. */
static bool is_whole(const char *path)
{
    sqlite3 *db = NULL;
    bool whole = false;
    int code = open_db(path, &db);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "PRAGMA quick_check(1)", expect_ok, &whole, NULL) & 0xff;
    sqlite3_close(db);
    /* Busy, or without room: that is no damage. */
    return code == SQLITE_OK ? whole : code != SQLITE_CORRUPT && code != SQLITE_NOTADB;
}

static int transfer(sqlite3 *from, sqlite3 *to)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    if (!backup)
        return sqlite3_errcode(to);
    int code;
    while ((code = sqlite3_backup_step(backup, -1)) == SQLITE_BUSY || code == SQLITE_LOCKED)
        sqlite3_sleep(10);
    return sqlite3_backup_finish(backup) == SQLITE_OK && code == SQLITE_DONE ? SQLITE_OK : code;
}

static void put_aside(const char *path)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        _cleanup_free_ char *from = xasprintf("%s%s", path, parts[i]);
        _cleanup_free_ char *to = xasprintf("%s.damaged%s", path, parts[i]);
        if (rename(from, to) < 0 && errno != ENOENT)
            unlink(from);
    }
}

/* Puts the copy in the place of a database that is damaged. */
static enum store_found restore(const char *path, const char *copy_path)
{
    sqlite3 *from = NULL, *to = NULL;
    enum store_found found = STORE_LOST;
    put_aside(path);
    if (access(copy_path, F_OK) == 0 && is_whole(copy_path)) {
        if (open_db(copy_path, &from) == SQLITE_OK && open_db(path, &to) == SQLITE_OK &&
            transfer(from, to) == SQLITE_OK)
            found = STORE_RESTORED;
        sqlite3_close(to);
        sqlite3_close(from);
    }
    if (found == STORE_LOST)
        put_aside(copy_path);
    return found;
}

int store_open(const char *dir, struct store **ret, struct err *err)
{
    struct store *store = xcalloc(1, sizeof *store);
    _cleanup_free_ char *path = path_join(dir, "carrel.db");
    _cleanup_free_ char *copy_path = path_join(dir, "carrel-copy.db");
    int rc;
    if (access(path, F_OK) == 0 && !is_whole(path))
        store->found = restore(path, copy_path);
    if (open_db(path, &store->db) != SQLITE_OK)
        rc = failed(store, err, path);
    else
        rc = migrate(store, path, err);
    for (int i = 0; rc == 0 && i < STATEMENTS; i++) {
        if (sqlite3_prepare_v3(store->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &store->prepared[i], NULL) != SQLITE_OK)
            rc = failed(store, err, path);
    }
    if (rc < 0) {
        store_close(store);
        return rc;
    }
    if (open_db(copy_path, &store->copy) != SQLITE_OK) {
        sqlite3_close(store->copy);
        store->copy = NULL;
    }
    *ret = store;
    return 0;
}

enum store_found store_found(const struct store *store)
{
    return store->found;
}

int store_copy(struct store *store, struct err *err)
{
    if (!store->copy || transfer(store->db, store->copy) != SQLITE_OK)
        return err_set(err, ERR_INTERNAL, 0, "the database has no copy");
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(store->prepared[i]);
    sqlite3_close(store->db);
    sqlite3_close(store->copy);
    free(store);
}

/* Makes the change of a statement that has run in the copy. What fails there is made good when the
 * copy is made anew. */
static void repeat(struct store *store, sqlite3_stmt *s)
{
    char *sql = store->copy ? sqlite3_expanded_sql(s) : NULL;
    if (!sql)
        return;
    (void)sqlite3_exec(store->copy, sql, NULL, NULL, NULL);
    explicit_bzero(sql, strlen(sql));
    sqlite3_free(sql);
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

static const char *column_text(sqlite3_stmt *s, int at)
{
    const unsigned char *text = sqlite3_column_text(s, at);
    return text ? (const char *)text : "";
}

/* Runs a statement without a result. Bound values are borrowed only until here. */
static int run(struct store *store, enum statement which, const char *doing, struct err *err)
{
    sqlite3_stmt *s = store->prepared[which];
    int step = sqlite3_step(s), rc = 0;
    if (step != SQLITE_DONE && step != SQLITE_ROW)
        rc = failed(store, err, doing);
    else if (which != ADD_EVENT && which != PRUNE_EVENTS)
        repeat(store, s);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return rc;
}

int store_put_sandbox(struct store *store, const struct store_sandbox *row, struct err *err)
{
    sqlite3_stmt *s = store->prepared[PUT_SANDBOX];
    bind_text(s, 1, row->id);
    bind_text(s, 2, row->project);
    bind_text(s, 3, row->template_name);
    bind_text(s, 4, row->state);
    sqlite3_bind_int64(s, 5, row->started);
    sqlite3_bind_int64(s, 6, row->life_started);
    sqlite3_bind_int64(s, 7, row->end);
    bind_text(s, 8, row->record);
    return run(store, PUT_SANDBOX, "write sandbox", err);
}

int store_update_sandbox(struct store *store, const char *id, const char *state,
                         int64_t life_started, int64_t end, struct err *err)
{
    sqlite3_stmt *s = store->prepared[UPDATE_SANDBOX];
    bind_text(s, 1, id);
    bind_text(s, 2, state);
    sqlite3_bind_int64(s, 3, life_started);
    sqlite3_bind_int64(s, 4, end);
    return run(store, UPDATE_SANDBOX, "update sandbox", err);
}

int store_delete_sandbox(struct store *store, const char *id, struct err *err)
{
    bind_text(store->prepared[DELETE_SANDBOX], 1, id);
    return run(store, DELETE_SANDBOX, "delete sandbox", err);
}

int store_each_sandbox(struct store *store, store_sandbox_fn *each, void *arg, struct err *err)
{
    sqlite3_stmt *s = store->prepared[EACH_SANDBOX];
    int step, rc = 0;
    while (rc >= 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct store_sandbox row = {
            .id = column_text(s, 0),
            .project = column_text(s, 1),
            .template_name = column_text(s, 2),
            .state = column_text(s, 3),
            .started = sqlite3_column_int64(s, 4),
            .life_started = sqlite3_column_int64(s, 5),
            .end = sqlite3_column_int64(s, 6),
            .record = column_text(s, 7),
        };
        rc = each(&row, arg);
    }
    if (rc >= 0)
        rc = step == SQLITE_DONE ? 0 : failed(store, err, "read sandboxes");
    sqlite3_reset(s);
    return rc;
}

int store_put_snapshot(struct store *store, const struct store_snapshot *row, struct err *err)
{
    sqlite3_stmt *s = store->prepared[PUT_SNAPSHOT];
    bind_text(s, 1, row->id);
    bind_text(s, 2, row->project);
    bind_text(s, 3, row->name);
    bind_text(s, 4, row->tag);
    bind_text(s, 5, row->sandbox);
    bind_text(s, 6, row->template_name);
    sqlite3_bind_int64(s, 7, row->created);
    bind_text(s, 8, row->record);
    return run(store, PUT_SNAPSHOT, "write snapshot", err);
}

int store_delete_snapshot(struct store *store, const char *id, struct err *err)
{
    bind_text(store->prepared[DELETE_SNAPSHOT], 1, id);
    return run(store, DELETE_SNAPSHOT, "delete snapshot", err);
}

int store_each_snapshot(struct store *store, store_snapshot_fn *each, void *arg, struct err *err)
{
    sqlite3_stmt *s = store->prepared[EACH_SNAPSHOT];
    int step, rc = 0;
    while (rc >= 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct store_snapshot row = {
            .id = column_text(s, 0),
            .project = column_text(s, 1),
            .name = column_text(s, 2),
            .tag = column_text(s, 3),
            .sandbox = column_text(s, 4),
            .template_name = column_text(s, 5),
            .created = sqlite3_column_int64(s, 6),
            .record = column_text(s, 7),
        };
        rc = each(&row, arg);
    }
    if (rc >= 0)
        rc = step == SQLITE_DONE ? 0 : failed(store, err, "read snapshots");
    sqlite3_reset(s);
    return rc;
}

int store_add_event(struct store *store, const struct store_event *event, struct err *err)
{
    sqlite3_stmt *s = store->prepared[ADD_EVENT];
    bind_text(s, 1, event->sandbox);
    bind_text(s, 2, event->project);
    sqlite3_bind_int64(s, 3, event->at);
    sqlite3_bind_int(s, 4, event->level);
    bind_text(s, 5, event->message);
    bind_text(s, 6, event->fields);
    int rc = run(store, ADD_EVENT, "write event", err);
    if (rc == 0 && ++store->events % PRUNE_EVERY == 0) {
        sqlite3_bind_int64(store->prepared[PRUNE_EVENTS], 1, STORE_EVENTS_MAX);
        rc = run(store, PRUNE_EVENTS, "forget old events", err);
    }
    return rc;
}

int store_each_event(struct store *store, const struct store_event_query *query,
                     store_event_fn *each, void *arg, struct err *err)
{
    sqlite3_stmt *s = store->prepared[query->backward ? EVENTS_BACKWARD : EVENTS_FORWARD];
    int step;
    bind_text(s, 1, query->sandbox);
    bind_text(s, 2, query->project);
    sqlite3_bind_int64(s, 3, query->from);
    sqlite3_bind_int64(s, 4, query->to);
    sqlite3_bind_int(s, 5, query->level);
    bind_text(s, 6, query->search);
    sqlite3_bind_int64(s, 7, query->limit);
    while ((step = sqlite3_step(s)) == SQLITE_ROW) {
        const struct store_event event = {
            .sandbox = column_text(s, 0),
            .project = column_text(s, 1),
            .at = sqlite3_column_int64(s, 2),
            .level = sqlite3_column_int(s, 3),
            .message = column_text(s, 4),
            .fields = column_text(s, 5),
        };
        each(&event, arg);
    }
    int rc = step == SQLITE_DONE ? 0 : failed(store, err, "read events");
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return rc;
}

int store_add_key(struct store *store, const struct store_key *key, struct err *err)
{
    sqlite3_stmt *s = store->prepared[ADD_KEY];
    bind_text(s, 1, key->name);
    bind_text(s, 2, key->project);
    bind_text(s, 3, key->hint);
    sqlite3_bind_blob(s, 4, key->hash, STORE_HASH_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(s, 5, key->created);
    int rc = run(store, ADD_KEY, "add key", err);
    if (rc < 0 && sqlite3_errcode(store->db) == SQLITE_CONSTRAINT)
        return err_set(err, ERR_EXISTS, 0, "there is a key named \"%s\" already", key->name);
    return rc;
}

int store_revoke_key(struct store *store, const char *name, int64_t now,
                     unsigned char ret_hash[STORE_HASH_SIZE], struct err *err)
{
    sqlite3_stmt *s = store->prepared[REVOKE_KEY];
    int rc;
    bind_text(s, 1, name);
    sqlite3_bind_int64(s, 2, now);
    int step = sqlite3_step(s);
    if (step == SQLITE_ROW && sqlite3_column_bytes(s, 0) == STORE_HASH_SIZE) {
        memcpy(ret_hash, sqlite3_column_blob(s, 0), STORE_HASH_SIZE);
        repeat(store, s);
        rc = 0;
    } else if (step == SQLITE_DONE || step == SQLITE_ROW) {
        rc = err_set(err, ERR_NOT_FOUND, 0, "there is no key named \"%s\"", name);
    } else {
        rc = failed(store, err, "revoke key");
    }
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return rc;
}

int store_each_key(struct store *store, store_key_fn *each, void *arg, struct err *err)
{
    sqlite3_stmt *s = store->prepared[EACH_KEY];
    int step;
    while ((step = sqlite3_step(s)) == SQLITE_ROW) {
        if (sqlite3_column_bytes(s, 3) != STORE_HASH_SIZE)
            continue;
        struct store_key key = {
            .name = column_text(s, 0),
            .project = column_text(s, 1),
            .hint = column_text(s, 2),
            .hash = sqlite3_column_blob(s, 3),
            .created = sqlite3_column_int64(s, 4),
            .revoked = sqlite3_column_int64(s, 5),
        };
        each(&key, arg);
    }
    int rc = step == SQLITE_DONE ? 0 : failed(store, err, "read keys");
    sqlite3_reset(s);
    return rc;
}

int64_t store_data_version(struct store *store)
{
    sqlite3_stmt *s = store->prepared[DATA_VERSION];
    int64_t version = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    sqlite3_reset(s);
    return version;
}
