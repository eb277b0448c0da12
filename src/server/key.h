/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: made once, kept as SHA-256. A key belongs to a project; sandboxes belong to the project
 * of the key that made them, and other projects' keys do not see them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "server/store.h"

enum {
    KEY_SIZE = 4 + 40 + 1, /* "e2b_", 40 hex digits, NUL: what the SDKs' own check accepts */
    KEY_HINT_LEN = 12,     /* shown in listings */
    KEY_NAME_MAX = 63,     /* of keys and of projects */
};
#define KEY_DEFAULT_PROJECT "default"

/* Whether text looks like a key: "e2b_" and 40 lower-case hex digits. */
bool key_valid(struct str text);
/* [A-Za-z0-9._-]{1,63}, for the names of keys and projects. */
bool key_name_valid(const char *name);

/* Makes a key and stores its hash. 0, or -errno (name taken). */
int key_create(struct store *store, const char *name, const char *project, char ret_key[KEY_SIZE],
               struct err *err);

/* ---- the first key, kept in clear in <dir>/key (mode 0600) so that `carrel env` can show it ---- */

/* Makes the first key and its file when the store has never had a key. 0 or -errno. */
int key_first(struct store *store, const char *dir, struct err *err);
/* 0; -ENOENT when there is none; other -errno. Trusts nothing: what it returns is safe to give to a
 * shell. */
int key_read_first(const char *dir, char ret_key[KEY_SIZE], struct err *err);
/* Removes the file if it holds the key with this hash. */
void key_forget_first(const char *dir, const unsigned char hash[STORE_HASH_SIZE]);

/* ---- checking ---- */
struct key_ring;

struct key_ring *key_ring_new(struct store *store);
/* Name of the project whose valid key this is (valid until the ring is freed or the next call), or
 * NULL. Notices keys that another process created or revoked. */
const char *key_ring_check(struct key_ring *ring, struct str key);
void key_ring_free(struct key_ring *ring);
