/* SPDX-License-Identifier: Apache-2.0 */
/* What happened to a sandbox, for its owner: kept in the store, after its end too, until
 * STORE_EVENTS_MAX newer ones have come. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct sandbox;

enum event_level { EVENT_DEBUG, EVENT_INFO, EVENT_WARN, EVENT_ERROR };
extern const char *const event_level_names[EVENT_ERROR + 1];

/* Each field is a name and a text; NULL ends them. A failure is logged and nothing else. */
void event_add(const struct sandbox *sandbox, enum event_level level, const char *message, ...)
    __attribute__((sentinel));
/* False: there is no level of that name. */
bool event_level_parse(struct str text, enum event_level *ret);
