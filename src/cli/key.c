/* SPDX-License-Identifier: Apache-2.0 */
/* `carrel key`: works on the store directly, beside a running server, which notices. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/command.h"
#include "server/config.h"
#include "server/identity.h"
#include "server/key.h"
#include "server/server.h"
#include "server/store.h"

struct arguments {
    const char *action;
    const char *name;
    const char *project;
    char **rest; /* options of `serve`: --state, --config */
    int rest_count;
};

static void usage(FILE *out)
{
    fprintf(out, "usage: carrel key create NAME [--project PROJECT] [--state DIR]\n"
                 "       carrel key list [--state DIR]\n"
                 "       carrel key revoke NAME [--state DIR]\n\n"
                 "A key sees the sandboxes of its project only (\"" KEY_DEFAULT_PROJECT
                 "\" if none is given).\n");
}

static int parse(int argc, char **argv, struct arguments *ret, struct err *err)
{
    ret->rest = xcalloc((size_t)argc + 1, sizeof *ret->rest);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--project") == 0 && i + 1 < argc)
            ret->project = argv[++i];
        else if (argv[i][0] != '-' && !ret->action)
            ret->action = argv[i];
        else if (argv[i][0] != '-' && !ret->name && strcmp(ret->action, "list") != 0)
            ret->name = argv[i];
        else {
            ret->rest[ret->rest_count++] = argv[i];
            if (argv[i][0] == '-' && !strchr(argv[i], '=') && i + 1 < argc)
                ret->rest[ret->rest_count++] = argv[++i];
        }
    }
    if (!ret->action)
        return err_set(err, ERR_INVALID, 0, "create, list or revoke?");
    if (strcmp(ret->action, "list") != 0 && !ret->name)
        return err_set(err, ERR_INVALID, 0, "the key's name is missing");
    return 0;
}

/* The store is the server's: becoming its user keeps every file in it readable for the server, and
 * gives root no business with content that the server controls. */
static int open_store(const char *dir, struct store **ret, struct err *err)
{
    struct stat st;
    if (lstat(dir, &st) < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, 0, "there is no %s: start `carrel serve` once", dir);
    if (lstat(dir, &st) < 0)
        return err_os(err, errno, "look at %s", dir);
    if (geteuid() == 0 && st.st_uid != 0) {
        int rc = identity_drop(st.st_uid, st.st_gid, err);
        if (rc < 0)
            return rc;
    }
    return store_open(dir, ret, err);
}

static int create_key(struct store *store, const struct arguments *arguments, struct err *err)
{
    char key[KEY_SIZE];
    const char *project = arguments->project ? arguments->project : KEY_DEFAULT_PROJECT;
    int rc = key_create(store, arguments->name, project, key, err);
    if (rc == 0)
        printf("%s\n", key);
    return rc;
}

static void print_key(const struct store_key *key, void *arg)
{
    char created[CLOCK_TEXT_SIZE], revoked[CLOCK_TEXT_SIZE] = "-";
    clock_format(key->created, 0, created);
    if (key->revoked)
        clock_format(key->revoked, 0, revoked);
    printf("%-20s %-20s %s…  %-20s  %s\n", key->name, key->project, key->hint, created, revoked);
}

static int list_keys(struct store *store, struct err *err)
{
    printf("%-20s %-20s %-13s  %-20s  %s\n", "NAME", "PROJECT", "KEY", "CREATED", "REVOKED");
    return store_each_key(store, print_key, NULL, err);
}

static int revoke_key(struct store *store, const char *dir, const char *name, struct err *err)
{
    unsigned char hash[STORE_HASH_SIZE];
    int rc = store_revoke_key(store, name, clock_wall_ns(), hash, err);
    if (rc == 0)
        key_forget_first(dir, hash);
    return rc;
}

static int run(const struct arguments *arguments, struct err *err)
{
    struct config config = {0};
    struct store *store = NULL;
    int rc = config_load(&config, arguments->rest_count, arguments->rest, err);
    if (rc == 0) {
        _cleanup_free_ char *dir = server_state_dir(&config);
        rc = open_store(dir, &store, err);
        if (rc < 0)
            ;
        else if (strcmp(arguments->action, "create") == 0)
            rc = create_key(store, arguments, err);
        else if (strcmp(arguments->action, "list") == 0)
            rc = list_keys(store, err);
        else if (strcmp(arguments->action, "revoke") == 0)
            rc = revoke_key(store, dir, arguments->name, err);
        else
            rc = err_set(err, ERR_INVALID, 0, "unknown action \"%s\"", arguments->action);
    }
    store_close(store);
    config_done(&config);
    return rc;
}

int command_key(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct err err;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    int rc = parse(argc, argv, &arguments, &err);
    if (rc == 0)
        rc = run(&arguments, &err);
    free(arguments.rest);
    if (rc >= 0)
        return 0;
    fprintf(stderr, "carrel key: %s\n", err.message);
    if (err.code == ERR_INVALID)
        usage(stderr);
    return err_exit_status(err.code);
}
