/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and scope helpers: allocation that cannot fail, cleanup attributes, moves.
 *
 * xmalloc and friends abort when memory is out. They are for small, fixed sizes; anything whose
 * size a peer chooses goes through struct buf, which has a ceiling. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Frees what a `void *`-like variable points to; use through _cleanup_free_. */
static inline void mem_freep(void *pointer_to_variable)
{
    free(*(void **)pointer_to_variable);
}

#define _cleanup_(function) __attribute__((cleanup(function)))
#define _cleanup_free_ _cleanup_(mem_freep)

/* Moves a pointer out of its variable, which becomes NULL. Keeps the type. */
#define TAKE_PTR(variable)                                                                         \
    ({                                                                                             \
        __typeof__(variable) _taken = (variable);                                                  \
        (variable) = NULL;                                                                         \
        _taken;                                                                                    \
    })

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))
