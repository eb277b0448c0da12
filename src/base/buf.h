/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer with a ceiling, consumed from the front.
 *
 * The ceiling is given at init and is the answer to "how much may a peer make us hold": an append
 * that would pass it changes nothing and returns -ENOBUFS. The bytes are buf_ptr()..+buf_len();
 * the pointer is valid until the next call that changes the buffer. A zeroed struct is an empty
 * buffer whose ceiling is 0. Not NUL-terminated unless buf_cstr is asked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf {
    char *data;      /* owned allocation */
    size_t begin;    /* first byte not yet consumed */
    size_t end;      /* one past the last byte */
    size_t capacity; /* of data */
    size_t ceiling;  /* most bytes ever held */
};

/* A buffer that may hold up to `ceiling` bytes. Allocates nothing yet. */
void buf_init(struct buf *b, size_t ceiling);
/* Frees the memory; the buffer is then empty and keeps its ceiling. */
void buf_done(struct buf *b);

static inline const char *buf_ptr(const struct buf *b)
{
    return b->data + b->begin;
}
static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->begin;
}
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->data ? b->data + b->begin : "", b->end - b->begin};
}

/* Each returns 0 or -ENOBUFS, and then nothing was appended. */
int buf_append(struct buf *b, const void *p, size_t n);
int buf_append_str(struct buf *b, struct str s);
int buf_append_z(struct buf *b, const char *s);
int buf_append_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Room for n more bytes, to be written in place and then made part of the buffer by buf_added.
 * NULL when that would pass the ceiling. */
char *buf_reserve(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);

/* Drops n bytes (<= buf_len) from the front. */
void buf_consume(struct buf *b, size_t n);
/* Drops all bytes, keeps the memory. */
void buf_clear(struct buf *b);
/* Cuts the buffer to n bytes (<= buf_len). */
void buf_truncate(struct buf *b, size_t n);
/* The content as a C string (a NUL is put after it, not counted), or NULL at the ceiling. */
const char *buf_cstr(struct buf *b);
