/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags. */
#include "agent/etag.h"

#include <stdio.h>

void etag_format(const struct stat *st, char out[ETAG_SIZE])
{
    snprintf(out, ETAG_SIZE, "\"%llx-%llx-%llx\"", (unsigned long long)st->st_ino,
             (unsigned long long)st->st_size,
             (unsigned long long)st->st_mtim.tv_sec * 1000000000 +
                 (unsigned long long)st->st_mtim.tv_nsec);
}
