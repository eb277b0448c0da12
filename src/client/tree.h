/* SPDX-License-Identifier: Apache-2.0 */
/* Whole directories between here and a sandbox, as tar streams. */
#pragma once

#include "client/client-internal.h"

struct tree_progress {
    const struct carrel_transfer *transfer; /* NULL: nobody asks */
    int64_t bytes, files, total;
};

/* Adds to what has been copied, and tells. */
void tree_progress(struct tree_progress *progress, int64_t bytes, int64_t files);

/* See carrel_upload and carrel_download; `from` is a directory. */
int tree_upload(struct carrel_sandbox *sandbox, const char *from, const char *to,
                const struct carrel_transfer *transfer, const struct carrel_call *call,
                struct carrel_error *err);
int tree_download(struct carrel_sandbox *sandbox, const char *from, const char *to,
                  const struct carrel_transfer *transfer, const struct carrel_call *call,
                  struct carrel_error *err);
