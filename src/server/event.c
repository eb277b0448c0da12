/* SPDX-License-Identifier: Apache-2.0 */
/* Writing events. */
#include "server/event.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/sandbox.h"
#include "server/server.h"
#include "server/store.h"

const char *const event_level_names[EVENT_ERROR + 1] = {"debug", "info", "warn", "error"};

bool event_level_parse(struct str text, enum event_level *ret)
{
    for (int i = 0; i <= EVENT_ERROR; i++) {
        if (!str_eqz(text, event_level_names[i]))
            continue;
        *ret = (enum event_level)i;
        return true;
    }
    return false;
}

void event_add(const struct sandbox *sb, enum event_level level, const char *message, ...)
{
    json_t *fields = json_object();
    const char *name;
    va_list args;
    va_start(args, message);
    while ((name = va_arg(args, const char *)))
        json_object_set_new(fields, name, json_string(va_arg(args, const char *)));
    va_end(args);
    _cleanup_free_ char *text = json_dumps(fields, JSON_COMPACT);
    json_decref(fields);
    const struct store_event event = {.sandbox = sb->id,
                                      .project = sb->project,
                                      .at = clock_wall_ns(),
                                      .level = level,
                                      .message = message,
                                      .fields = text ? text : "{}"};
    struct err err;
    if (store_add_event(sb->server->store, &event, &err) < 0)
        log_warning("event not kept", "id=%s error=\"%s\"", sb->id, err.message);
}
