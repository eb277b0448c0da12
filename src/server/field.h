/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from clients, read strictly: right type or a message that says what and where. null counts
 * as absent, unknown members are ignored (protocol.md 2.2). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { FIELD_DEPTH_MAX = 64 };

/* Parses a whole text that must be an object. NULL with err: line and column of what is wrong, or
 * that it is nested too deep. */
json_t *field_parse_object(struct str text, struct err *err);

/* Each returns 1 and sets *ret, 0 when the member is absent, or -EINVAL with err. Results are
 * borrowed from the object. */
int field_string(const json_t *object, const char *name, const char **ret, struct err *err);
int field_bool(const json_t *object, const char *name, bool *ret, struct err *err);
int field_integer(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
                  struct err *err);
int field_object(const json_t *object, const char *name, json_t **ret, struct err *err);
int field_array(const json_t *object, const char *name, json_t **ret, struct err *err);
/* An object whose values are all strings. */
int field_string_map(const json_t *object, const char *name, json_t **ret, struct err *err);
