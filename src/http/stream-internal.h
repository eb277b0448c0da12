/* SPDX-License-Identifier: Apache-2.0 */
/* What an implementation of a stream fills in. */
#pragma once

#include "http/stream.h"

struct stream_ops {
    void (*watch)(struct stream *s, bool readable, bool writable);
    ssize_t (*read)(struct stream *s, void *p, size_t n);
    ssize_t (*write)(struct stream *s, const struct iovec *parts, int count);
    ssize_t (*sendfile)(struct stream *s, int file, off_t *offset, size_t n);
    void (*shutdown_write)(struct stream *s);
    /* Frees it, later. reset: the peer must see a broken stream. */
    void (*close)(struct stream *s, bool reset);
};

/* First member of each implementation. */
struct stream {
    const struct stream_ops *ops;
    uv_loop_t *loop;
    int fd;
    stream_ready_fn *ready;
    void *arg;
};
