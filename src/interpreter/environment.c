/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's variables, read again when their file is another. */
#include "interpreter/environment.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "interpreter/paths.h"

enum { FILE_MAX = 16 << 20 };

static struct {
    json_t *all;
    uint64_t generation;
    struct timespec changed;
    ino_t inode;
} environment;

static bool is_new(const struct stat *st)
{
    return st->st_ino != environment.inode || st->st_mtim.tv_sec != environment.changed.tv_sec ||
           st->st_mtim.tv_nsec != environment.changed.tv_nsec;
}

static void read_again(const struct stat *st)
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    environment.inode = st->st_ino;
    environment.changed = st->st_mtim;
    if (fd_read_file(AT_FDCWD, PATH_ENVS, FILE_MAX, &text, &len) < 0)
        return;
    json_t *all = json_loadb(text, len, 0, NULL);
    if (!json_is_object(all)) {
        json_decref(all);
        return;
    }
    json_decref(environment.all);
    environment.all = all;
    environment.generation++;
}

const json_t *environment_get(uint64_t *ret_generation)
{
    struct stat st;
    if (!environment.all) {
        environment.all = json_object();
        environment.generation = 1;
    }
    if (stat(PATH_ENVS, &st) == 0 && is_new(&st))
        read_again(&st);
    *ret_generation = environment.generation;
    return environment.all;
}

static const struct {
    const char *name, *value;
} standard[] = {
    {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    {"HOME", "/root"},
    {"USER", "root"},
    {"LOGNAME", "root"},
    {"SHELL", "/bin/bash"},
    {"LANG", "C.UTF-8"},
};

char **environment_list(void)
{
    uint64_t generation;
    json_t *value, *all = (json_t *)environment_get(&generation);
    char **list = xcalloc(ARRAY_SIZE(standard) + json_object_size(all) + 1, sizeof *list);
    size_t n = 0;
    const char *name;
    for (size_t i = 0; i < ARRAY_SIZE(standard); i++)
        if (!json_object_get(all, standard[i].name))
            list[n++] = xasprintf("%s=%s", standard[i].name, standard[i].value);
    json_object_foreach (all, name, value)
        if (json_is_string(value) && *name && !strchr(name, '='))
            list[n++] = xasprintf("%s=%s", name, json_string_value(value));
    return list;
}

void environment_list_free(char **list)
{
    for (char **e = list; e && *e; e++)
        free(*e);
    free(list);
}
