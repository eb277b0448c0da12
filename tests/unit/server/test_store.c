/* SPDX-License-Identifier: Apache-2.0 */
/* store and key: rows, keys, and what another process changes. */
#include "unit.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include "server/key.h"
#include "server/store.h"

static char *directory;
static const char *const files[] = {"carrel.db", "carrel.db-wal", "carrel.db-shm", "key",
                                    "carrel-copy.db", "carrel-copy.db-wal", "carrel-copy.db-shm",
                                    NULL};

static int set_up(void **state)
{
    struct store *store;
    directory = unit_directory();
    if (store_open(directory, &store, NULL) < 0)
        return -1;
    *state = store;
    return 0;
}

static int tear_down(void **state)
{
    store_close(*state);
    unit_remove(directory, files);
    return 0;
}

static int copy_row(const struct store_sandbox *row, void *arg)
{
    snprintf(arg, 200, "%s %s %s %s %lld %lld %lld %s", row->id, row->project, row->template_name,
             row->state, (long long)row->started, (long long)row->life_started, (long long)row->end,
             row->record);
    return 0;
}

static void sandboxes(void **state)
{
    char text[200] = "";
    struct store_sandbox row = {"ia", "default", "base", "running", 1, 2, 3, "{}"};
    struct store *store = *state;
    assert_int_equal(store_put_sandbox(store, &row, NULL), 0);
    assert_int_equal(store_update_sandbox(store, "ia", "paused", 4, 5, NULL), 0);
    assert_int_equal(store_update_sandbox(store, "unknown", "paused", 4, 5, NULL), 0);
    assert_int_equal(store_each_sandbox(store, copy_row, text, NULL), 0);
    assert_string_equal(text, "ia default base paused 1 4 5 {}");
    assert_int_equal(store_delete_sandbox(store, "ia", NULL), 0);
    assert_int_equal(store_delete_sandbox(store, "ia", NULL), 0);
    text[0] = '\0';
    assert_int_equal(store_each_sandbox(store, copy_row, text, NULL), 0);
    assert_string_equal(text, "");
}

/* What a killed process had written is there for the next. */
static void survives(void **state)
{
    char text[200] = "";
    struct store *other;
    struct store_sandbox row = {"ia", "p", "base", "running", 1, 2, 3, "{\"k\":\"ä\"}"};
    assert_int_equal(store_put_sandbox(*state, &row, NULL), 0);
    assert_int_equal(store_open(directory, &other, NULL), 0); /* the first is still open */
    assert_int_equal(store_each_sandbox(other, copy_row, text, NULL), 0);
    assert_string_equal(text, "ia p base running 1 2 3 {\"k\":\"ä\"}");
    store_close(other);
}

static void newer_version(void **state)
{
    char *path = xasprintf("%s/carrel.db", directory);
    struct store *other;
    struct err err;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_true(store_open(directory, &other, &err) < 0);
    assert_non_null(strstr(err.message, "newer"));
    free(path);
}

static void keys(void **state)
{
    char key[KEY_SIZE], other[KEY_SIZE];
    unsigned char hash[STORE_HASH_SIZE];
    struct store *store = *state, *beside;
    struct key_ring *ring = key_ring_new(store);
    assert_null(key_ring_check(ring, STR("e2b_0000")));
    assert_int_equal(key_create(store, "ci", "team-a", key, NULL), 0);
    assert_true(key_valid(str_from(key)));
    assert_int_equal(key_create(store, "ci", "team-a", other, NULL), -EEXIST);
    assert_int_equal(key_create(store, "bad name", "x", other, NULL), -EINVAL);

    /* another process adds and revokes; the ring notices */
    assert_int_equal(store_open(directory, &beside, NULL), 0);
    assert_int_equal(key_create(beside, "second", KEY_DEFAULT_PROJECT, other, NULL), 0);
    assert_string_equal(key_ring_check(ring, str_from(other)), "default");
    assert_string_equal(key_ring_check(ring, str_from(key)), "team-a");
    assert_int_equal(store_revoke_key(beside, "second", 7, hash, NULL), 0);
    assert_int_equal(store_revoke_key(beside, "second", 7, hash, NULL), -ENOENT);
    assert_null(key_ring_check(ring, str_from(other)));
    assert_string_equal(key_ring_check(ring, str_from(key)), "team-a");
    assert_int_equal(key_create(beside, "second", "x", other, NULL),
                     0); /* the name is free again */
    store_close(beside);

    key[10] ^= 1;
    assert_null(key_ring_check(ring, str_from(key)));
    assert_null(key_ring_check(ring, STR("")));
    key_ring_free(ring);
}

static void first_key(void **state)
{
    char key[KEY_SIZE], again[KEY_SIZE];
    unsigned char hash[STORE_HASH_SIZE];
    struct stat st;
    struct store *store = *state;
    struct key_ring *ring = key_ring_new(store);
    assert_int_equal(key_read_first(directory, key, NULL), -ENOENT);
    assert_int_equal(key_first(store, directory, NULL), 0);
    assert_int_equal(key_read_first(directory, key, NULL), 0);
    assert_string_equal(key_ring_check(ring, str_from(key)), "default");
    assert_int_equal(key_first(store, directory, NULL), 0); /* not twice */
    assert_int_equal(key_read_first(directory, again, NULL), 0);
    assert_string_equal(key, again);
    char *path = xasprintf("%s/key", directory);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    /* revoked: the file goes, and no new key appears by itself */
    assert_int_equal(store_revoke_key(store, "default", 1, hash, NULL), 0);
    key_forget_first(directory, hash);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(key_first(store, directory, NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
    free(path);
    key_ring_free(ring);
}

/* The file may have been replaced by a hostile server: a shell must never see what is no key. */
static void hostile_key_file(void **state)
{
    static const char *const contents[] = {"", "e2b_", "$(reboot)\n",
                                           "e2b_00000000000000000000000000000000000000;id",
                                           "e2b_0000000000000000000000000000000000000000\nid\n"};
    char *path = xasprintf("%s/key", directory), key[KEY_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(contents); i++) {
        FILE *out = fopen(path, "w");
        fputs(contents[i], out);
        fclose(out);
        assert_true(key_read_first(directory, key, NULL) < 0);
    }
    unlink(path);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    assert_true(key_read_first(directory, key, NULL) < 0);
    free(path);
}

int main(void)
{
#define WITH_STORE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_STORE(sandboxes), WITH_STORE(survives),  WITH_STORE(newer_version),
        WITH_STORE(keys),      WITH_STORE(first_key), WITH_STORE(hostile_key_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
