/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox may reach, as clients say it (protocol.md 2.4) and as the launcher is told. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "launcher/message.h"

struct network {
    bool closed; /* nothing at all may be reached */
    size_t len;  /* of what the launcher is told; 0: there are no restrictions */
    char bytes[LAUNCHER_NETWORK_MAX];
};

/* Reads allowOut, denyOut and what this server has none of (refused by name) from an object, which
 * may be NULL. prefix stands before the names of its members in messages. 0, or -EINVAL with err. */
int network_from_json(const json_t *object, const char *prefix, bool allow_internet,
                      struct network *ret, struct err *err);
