/* SPDX-License-Identifier: Apache-2.0 */
/* inotify instances. Closing one makes the kernel wait for about 10 ms until nobody looks at its
 * watches any more; so a few are kept for the next user, and the others are closed by a worker. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* An empty, non-blocking instance, or -errno. */
int inotify_acquire(void);
/* is_empty: its watches have all been removed. */
void inotify_release(uv_loop_t *loop, int fd, bool is_empty);
/* Watches exactly what `dir` is, whatever its name means by now; path is for where there is no /proc.
 * The watch descriptor, or -errno. */
int inotify_watch_fd(int fd, int dir, const char *path, uint32_t mask);
