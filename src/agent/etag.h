/* SPDX-License-Identifier: Apache-2.0 */
/* The entity tag of a file: changes with every write, and with the file that has the name. */
#pragma once

#include <sys/stat.h>

enum { ETAG_SIZE = 64 };
/* Quoted, NUL-terminated. */
void etag_format(const struct stat *st, char out[ETAG_SIZE]);
