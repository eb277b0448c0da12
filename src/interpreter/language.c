/* SPDX-License-Identifier: Apache-2.0 */
/* The table of languages. */
#include "interpreter/language.h"

#include "base/mem.h"
#include "interpreter/driver.h"
#include "interpreter/jupyter.h"
#include "interpreter/paths.h"

#define PATH_JAVASCRIPT PATH_PROGRAMS "/javascript.mjs"

enum { ARGS_MAX = 6 };

struct language {
    const char *name, *alias;
    struct kernel *(*start)(const struct kernel_options *o, struct nursery *n, struct err *err);
    const char *argv[ARGS_MAX]; /* of a driver */
};

static struct kernel *start_python(const struct kernel_options *o, struct nursery *n,
                                   struct err *err)
{
    return jupyter_python_open(o, n, err);
}

static struct kernel *start_r(const struct kernel_options *o, struct nursery *n, struct err *err)
{
    return jupyter_r_open(o, err);
}

static struct kernel *start_bash(const struct kernel_options *o, struct nursery *n, struct err *err)
{
    return driver_bash_open(o, err);
}

static const struct language languages[] = {
    {"python", NULL, start_python, {NULL}},
    {"javascript",
     "js",
     NULL,
     {"/usr/bin/node", "--experimental-vm-modules", "--no-warnings", PATH_JAVASCRIPT}},
    {"typescript",
     "ts",
     NULL,
     {"/usr/bin/node", "--experimental-vm-modules", "--no-warnings", PATH_JAVASCRIPT,
      "typescript"}},
    {"bash", NULL, start_bash, {NULL}},
    {"r", NULL, start_r, {NULL}},
    {"java",
     NULL,
     NULL,
     {"/usr/bin/java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
      "--add-opens=java.base/java.io=ALL-UNNAMED", PATH_PROGRAMS "/Driver.java"}},
};

const struct language *language_find(struct str text)
{
    text = str_trim(text);
    for (size_t i = 0; i < ARRAY_SIZE(languages); i++) {
        const struct language *l = &languages[i];
        if (str_ieqz(text, l->name) || (l->alias && str_ieqz(text, l->alias)))
            return l;
    }
    return NULL;
}

const char *language_name(const struct language *language)
{
    return language->name;
}

struct kernel *language_start(const struct language *l, const struct kernel_options *o,
                              struct nursery *nursery, struct err *err)
{
    char *argv[ARGS_MAX + 1] = {NULL};
    if (l->start)
        return l->start(o, nursery, err);
    for (int i = 0; i < ARGS_MAX && l->argv[i]; i++)
        argv[i] = (char *)l->argv[i];
    return driver_open(o, argv, err);
}
