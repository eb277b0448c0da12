/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer with a ceiling. */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

enum { SMALLEST = 256 };

void buf_init(struct buf *b, size_t ceiling)
{
    *b = (struct buf){.ceiling = ceiling};
}

void buf_done(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.ceiling = b->ceiling};
}

/* Room for n more bytes behind end, plus one for a NUL. */
static int make_room(struct buf *b, size_t n)
{
    size_t len = buf_len(b);
    if (n > b->ceiling || len > b->ceiling - n)
        return -ENOBUFS;
    if (b->capacity - b->end > n)
        return 0;
    if (b->capacity - len > n && b->begin >= len) { /* moving down is cheaper than growing */
        memmove(b->data, b->data + b->begin, len);
        b->begin = 0;
        b->end = len;
        return 0;
    }
    size_t capacity = b->capacity * 2;
    if (capacity < SMALLEST)
        capacity = SMALLEST;
    if (capacity < len + n + 1)
        capacity = len + n + 1;
    if (capacity > b->ceiling + 1)
        capacity = b->ceiling + 1;
    char *data = malloc(capacity);
    if (!data)
        return -ENOBUFS;
    if (len)
        memcpy(data, b->data + b->begin, len);
    free(b->data);
    b->data = data;
    b->begin = 0;
    b->end = len;
    b->capacity = capacity;
    return 0;
}

char *buf_reserve(struct buf *b, size_t n)
{
    return make_room(b, n) < 0 ? NULL : b->data + b->end;
}

void buf_added(struct buf *b, size_t n)
{
    assert(n <= b->capacity - b->end);
    b->end += n;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return 0;
    int rc = make_room(b, n);
    if (rc < 0)
        return rc;
    memcpy(b->data + b->end, p, n);
    b->end += n;
    return 0;
}

int buf_append_str(struct buf *b, struct str s)
{
    return buf_append(b, s.p, s.len);
}

int buf_append_z(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        return -EINVAL;
    int rc = make_room(b, (size_t)n);
    if (rc < 0)
        return rc;
    va_start(args, fmt);
    vsnprintf(b->data + b->end, (size_t)n + 1, fmt, args);
    va_end(args);
    b->end += (size_t)n;
    return 0;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= buf_len(b));
    b->begin += n;
    if (b->begin == b->end)
        b->begin = b->end = 0;
}

void buf_clear(struct buf *b)
{
    b->begin = b->end = 0;
}

void buf_truncate(struct buf *b, size_t n)
{
    assert(n <= buf_len(b));
    b->end = b->begin + n;
}

const char *buf_cstr(struct buf *b)
{
    if (b->end == b->capacity) {
        char *data = realloc(b->data, b->capacity + 1);
        if (!data)
            return NULL;
        b->data = data;
        b->capacity++;
    }
    b->data[b->end] = '\0';
    return b->data + b->begin;
}
