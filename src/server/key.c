/* SPDX-License-Identifier: Apache-2.0 */
/* API keys. */
#include "server/key.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/random.h"
#include "server/digest.h"

_Static_assert((int)STORE_HASH_SIZE == (int)DIGEST_SIZE, "keys are stored as SHA-256");

bool key_valid(struct str text)
{
    if (text.len != KEY_SIZE - 1 || !str_starts(text, STR("e2b_")))
        return false;
    for (size_t i = 4; i < text.len; i++)
        if (!strchr("0123456789abcdef", text.p[i]) || text.p[i] == '\0')
            return false;
    return true;
}

bool key_name_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n <= KEY_NAME_MAX && name[n] == '\0';
}

static int add(struct store *store, const char *name, const char *project, const char *key,
               struct err *err)
{
    unsigned char hash[DIGEST_SIZE];
    char hint[KEY_HINT_LEN + 1];
    digest_sha256(str_from(key), hash);
    memcpy(hint, key, KEY_HINT_LEN);
    hint[KEY_HINT_LEN] = '\0';
    struct store_key row = {
        .name = name, .project = project, .hint = hint, .hash = hash, .created = clock_wall_ns()};
    return store_add_key(store, &row, err);
}

static void generate(char out[KEY_SIZE])
{
    memcpy(out, "e2b_", 4);
    random_hex(out + 4, KEY_SIZE - 1 - 4);
}

int key_create(struct store *store, const char *name, const char *project, char ret_key[KEY_SIZE],
               struct err *err)
{
    char key[KEY_SIZE];
    if (!key_name_valid(name) || !key_name_valid(project))
        return err_set(err, ERR_INVALID, 0,
                       "names of keys and projects are 1 to %d letters, digits, '.', '_' or '-'",
                       KEY_NAME_MAX);
    generate(key);
    int rc = add(store, name, project, key, err);
    if (rc == 0)
        memcpy(ret_key, key, KEY_SIZE);
    return rc;
}

static void count_key(const struct store_key *key, void *arg)
{
    ++*(int *)arg;
}

int key_first(struct store *store, const char *dir, struct err *err)
{
    char key[KEY_SIZE + 1];
    int count = 0;
    int rc = store_each_key(store, count_key, &count, err);
    if (rc < 0 || count > 0)
        return rc;
    generate(key);
    /* File first: a crash in between leaves a file that the next start replaces, not a key that
     * nobody knows. */
    _cleanup_free_ char *path = path_join(dir, "key");
    key[KEY_SIZE - 1] = '\n';
    rc = fd_replace_file(AT_FDCWD, path, key, KEY_SIZE, 0600);
    if (rc < 0)
        return err_os(err, -rc, "write %s", path);
    key[KEY_SIZE - 1] = '\0';
    return add(store, "default", KEY_DEFAULT_PROJECT, key, err);
}

/* The directory belongs to the server's user, and the reader may be root whose shell will evaluate
 * the output: no links, and nothing but a key comes out. */
int key_read_first(const char *dir, char ret_key[KEY_SIZE], struct err *err)
{
    _cleanup_free_ char *path = path_join(dir, "key");
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return err_os(err, errno, "open %s", path);
    char text[KEY_SIZE + 1];
    ssize_t n = fd_read_all(fd, text, sizeof text);
    if (n < 0)
        return err_os(err, (int)-n, "read %s", path);
    if (n == KEY_SIZE && text[KEY_SIZE - 1] == '\n')
        n--;
    if (!key_valid((struct str){text, (size_t)n}))
        return err_set(err, ERR_INVALID, 0, "%s does not hold a key", path);
    memcpy(ret_key, text, KEY_SIZE - 1);
    ret_key[KEY_SIZE - 1] = '\0';
    return 0;
}

void key_forget_first(const char *dir, const unsigned char hash[STORE_HASH_SIZE])
{
    char key[KEY_SIZE];
    unsigned char own[DIGEST_SIZE];
    if (key_read_first(dir, key, NULL) < 0)
        return;
    digest_sha256(str_from(key), own);
    if (memcmp(own, hash, DIGEST_SIZE) == 0) {
        _cleanup_free_ char *path = path_join(dir, "key");
        unlink(path);
    }
}

/* ---- ring ---- */

struct ring_key {
    unsigned char hash[DIGEST_SIZE];
    char project[KEY_NAME_MAX + 1];
};

struct key_ring {
    struct store *store;
    struct ring_key *keys;
    size_t count;
    size_t capacity;
    int64_t version; /* of the store when they were read; -1: not read */
};

struct key_ring *key_ring_new(struct store *store)
{
    struct key_ring *ring = xcalloc(1, sizeof *ring);
    ring->store = store;
    ring->version = -1;
    return ring;
}

static void ring_add(const struct store_key *key, void *arg)
{
    struct key_ring *ring = arg;
    if (key->revoked != 0)
        return;
    if (ring->count == ring->capacity) {
        ring->capacity = ring->capacity ? ring->capacity * 2 : 8;
        ring->keys = xrealloc(ring->keys, ring->capacity * sizeof *ring->keys);
    }
    struct ring_key *own = &ring->keys[ring->count++];
    memcpy(own->hash, key->hash, DIGEST_SIZE);
    snprintf(own->project, sizeof own->project, "%s", key->project);
}

static void refresh(struct key_ring *ring)
{
    int64_t version = store_data_version(ring->store);
    if (version >= 0 && version == ring->version)
        return;
    ring->count = 0;
    if (store_each_key(ring->store, ring_add, ring, NULL) < 0) {
        ring->count = 0; /* what cannot be read grants nothing */
        version = -1;
    }
    ring->version = version;
}

const char *key_ring_check(struct key_ring *ring, struct str key)
{
    unsigned char hash[DIGEST_SIZE];
    const char *project = NULL;
    if (!key.p || key.len == 0 || key.len > 512)
        return NULL;
    refresh(ring);
    digest_sha256(key, hash);
    for (size_t i = 0; i < ring->count; i++) {
        if (str_eq_secret((struct str){(char *)hash, DIGEST_SIZE},
                          (struct str){(char *)ring->keys[i].hash, DIGEST_SIZE}))
            project = ring->keys[i].project;
    }
    return project;
}

void key_ring_free(struct key_ring *ring)
{
    if (!ring)
        return;
    free(ring->keys);
    free(ring);
}
