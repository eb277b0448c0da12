/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's global variables, which may change while we run: a sandbox that was started in
 * advance gets those of its user when it is given out. The agent writes them to a file. */
#pragma once

#include <jansson.h>
#include <stdint.h>

/* The variables as of now: name → text; borrowed until the next call. *ret_generation changes when
 * they do. */
const json_t *environment_get(uint64_t *ret_generation);
/* For a process: a standard PATH, HOME and the rest of root, then the variables. Free with
 * environment_list_free. */
char **environment_list(void);
void environment_list_free(char **list);
