/* SPDX-License-Identifier: Apache-2.0 */
/* What the server's unit tests share: cmocka with its needs, requests out of text, directories that
 * go away. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/head.h"

enum { UNIT_FIELDS_MAX = 16 };

struct unit_request {
    struct http_header fields[UNIT_FIELDS_MAX];
    struct http_request request;
};

/* method, target, then pairs of names and values, ended by NULL. */
static inline struct http_request *unit_request(struct unit_request *r, const char *method,
                                                const char *target, ...)
{
    va_list args;
    const char *name;
    *r = (struct unit_request){0};
    r->request.method = str_from(method);
    r->request.target = str_from(target);
    struct str rest = r->request.target;
    str_split(&rest, '?', &r->request.path);
    r->request.query = rest.p ? rest : STR("");
    r->request.headers.list = r->fields;
    va_start(args, target);
    while ((name = va_arg(args, const char *))) {
        const char *value = va_arg(args, const char *);
        r->fields[r->request.headers.count++] =
            (struct http_header){str_from(name), str_from(value)};
    }
    va_end(args);
    return &r->request;
}

/* A fresh directory below /tmp, to be removed with unit_remove. */
static inline char *unit_directory(void)
{
    char template[] = "/tmp/carrel-unit.XXXXXX";
    assert_non_null(mkdtemp(template));
    return xstrdup(template);
}

static inline void unit_remove(char *directory, const char *const *files)
{
    for (; *files; files++) {
        char *path = xasprintf("%s/%s", directory, *files);
        unlink(path);
        free(path);
    }
    assert_int_equal(rmdir(directory), 0);
    free(directory);
}
