/* SPDX-License-Identifier: Apache-2.0 */
/* File systems whose files are made while being read; sizes are 0 or a page there, and wrong. */
#pragma once

#include <stdbool.h>

/* Whether an open file or directory is on one; true, too, if that cannot be told. */
bool pseudo_file_system(int fd);
