/* SPDX-License-Identifier: Apache-2.0 */
/* Pseudo-terminals. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* A new pair: our side (non-blocking) and the program's, owned by the user; both close-on-exec and
 * owned by the caller. 0 or -errno, and then nothing is open. */
int terminal_open(uint16_t cols, uint16_t rows, uid_t owner, int *ret_ours, int *ret_theirs);
/* Sets the size through either side; the foreground group hears SIGWINCH. 0 or -errno. */
int terminal_resize(int fd, uint16_t cols, uint16_t rows);
