/* SPDX-License-Identifier: Apache-2.0 */
/* Instance numbers: servers run side by side on one host, and each has its own ranges of ids,
 * addresses and groups, all derived from a number 0..BOX_INSTANCES-1.
 *
 * A number belongs to a state directory. The file <dir>/<number> holds its path and is locked
 * while its launcher runs; the same directory gets the same number again, and a number can be
 * taken over only when nobody runs with it and its sandboxes are gone. */
#pragma once

#include "base/err.h"

#define INSTANCE_DIR "/run/carrel.instances"

/* Claims a number for state_dir (an existing directory). *ret_lock is to be kept open as long as
 * the number is used; closing it (or dying) frees the lock, not the number. ERR_CONFLICT when a
 * launcher runs on the directory already, ERR_EXHAUSTED when all numbers are taken. */
int instance_claim(const char *dir, const char *state_dir, unsigned *ret_number, int *ret_lock,
                   struct err *err);
/* The number that state_dir has, or would have at first if nobody else had any; takes nothing. */
unsigned instance_find(const char *dir, const char *state_dir);
