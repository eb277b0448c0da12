/* SPDX-License-Identifier: Apache-2.0 */
/* A local descriptor as the source of an upload. */
#pragma once

#include "client/client-internal.h"

struct fd_source {
    int fd;
    struct carrel_cancel *cancel;
    int64_t size; /* what it will give, -1: not known */
    int64_t given;
    bool plain; /* a file, which never makes one wait */
    int error;  /* errno of a read that failed */
};

/* carrel_file_write_from with a size and permission bits, or -1 for each. */
int file_write_sized(struct carrel_sandbox *sandbox, const char *path, carrel_source_fn *source,
                     void *arg, int64_t size, int mode, const struct carrel_call *call,
                     struct carrel_error *err);

/* "/files?path=...&username=...", to be freed with free(). The path is bytes, not text: names need not
 * be UTF-8. */
char *file_target(const char *route, const char *path, const struct carrel_call *call);

void fd_source_init(struct fd_source *from, int fd, const struct carrel_call *call);
/* A carrel_source_fn; arg is a struct fd_source. */
ssize_t fd_source_read(void *arg, void *p, size_t n);
