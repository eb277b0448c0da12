/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a sandbox's file system, printed. */
#pragma once

#include <carrel/client.h>
#include <jansson.h>

/* One line: what it is called here, with all that is known of it if `full`. */
void entries_print(const struct carrel_entry *entry, const char *called, bool full);
json_t *entries_json(const struct carrel_entry *entry);
