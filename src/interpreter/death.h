/* SPDX-License-Identifier: Apache-2.0 */
/* Why a kernel's process ended, in words for people. That memory ran out is known from the control
 * group's count of out-of-memory kills, which the agent gives a service as standard input. */
#pragma once

#include <stddef.h>

#include "base/str.h"

enum { DEATH_TEXT_SIZE = 4352 };

/* Once. fd is kept. */
void death_setup(int fd);
/* Now and then, so that an earlier kill is not taken for the reason of a later one. */
void death_look(void);
/* status as of waitpid. last_words, what the process had to say if it never came to work, is added;
 * cut to what has room. */
void death_describe(int status, struct str last_words, char ret[DEATH_TEXT_SIZE]);
