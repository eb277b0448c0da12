/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a body that says its length would fit, before it fills the disk up. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* path: where it goes; NULL or a negative length: not known, which is no reason to refuse. Only large
 * ones are looked at. True: it does not fit, and *err says so. */
bool disk_space_lacks(const char *path, int64_t length, struct err *err);
