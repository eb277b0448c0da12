/* SPDX-License-Identifier: Apache-2.0 */
/* A non-blocking byte stream, watched by a libuv loop.
 *
 * The owner asks to be told of readiness, and reads, writes, sends files itself, with no buffer in
 * between: back-pressure is not reading. A plain socket (stream.c), TLS (tls.h) and one stream of an
 * HTTP/2 connection (h2.h) are implementations. Single-threaded: all calls from the loop's thread. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

struct stream;

/* Called when the stream can be read or written again, as far as asked by stream_watch. */
typedef void stream_ready_fn(struct stream *s, bool readable, bool writable, void *arg);

/* Takes ownership of a connected socket (made non-blocking here), also on failure. 0 or -errno. */
int stream_open(uv_loop_t *loop, int fd, stream_ready_fn *ready, void *arg, struct stream **ret);
/* Connects to an AF_UNIX stream socket; connection is immediate or fails (-ECONNREFUSED, -ENOENT,
 * -EAGAIN when the listener's backlog is full). */
int stream_connect_unix(uv_loop_t *loop, const char *path, stream_ready_fn *ready, void *arg,
                        struct stream **ret);
/* Gives the stream to another owner. */
void stream_set_owner(struct stream *s, stream_ready_fn *ready, void *arg);
/* What to report from now on. Nothing is watched at first. */
void stream_watch(struct stream *s, bool readable, bool writable);

/* Bytes read, 0 at the end, or -errno; -EAGAIN when nothing is there. */
ssize_t stream_read(struct stream *s, void *p, size_t n);
/* Bytes written (maybe fewer), or -errno; -EAGAIN when the socket is full. */
ssize_t stream_write(struct stream *s, const struct iovec *parts, int count);
/* Sends from a file at *offset, advancing it. Bytes sent, 0 at the file's end, or -errno. */
ssize_t stream_sendfile(struct stream *s, int file, off_t *offset, size_t n);
/* No more will be written; the peer reads an end. */
void stream_shutdown_write(struct stream *s);

/* Ends it; no callback comes after this returns, memory goes when the loop has passed. */
void stream_close(struct stream *s);
/* The same, but the peer sees a broken connection (TCP reset) instead of an orderly end. */
void stream_reset(struct stream *s);
/* Of the socket below, -1 for a stream of HTTP/2. */
int stream_fd(const struct stream *s);
uv_loop_t *stream_loop(const struct stream *s);
