/* SPDX-License-Identifier: Apache-2.0 */
/* Strict reading of JSON members. */
#include "server/field.h"

#include <errno.h>

/* jansson recurses up to 2,048 levels deep, and so do those who walk the result; our requests
 * have four. */
static bool too_deep(struct str text)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > FIELD_DEPTH_MAX)
                return true;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

json_t *field_parse_object(struct str text, struct err *err)
{
    json_error_t why;
    if (too_deep(text)) {
        err_set(err, ERR_INVALID, 0, "JSON nested deeper than %d levels", FIELD_DEPTH_MAX);
        return NULL;
    }
    json_t *object = json_loadb(text.p, text.len, 0, &why);
    if (!object) {
        err_set(err, ERR_INVALID, 0, "invalid JSON at line %d, column %d: %s", why.line, why.column,
                why.text);
        return NULL;
    }
    if (!json_is_object(object)) {
        err_set(err, ERR_INVALID, 0, "the body must be a JSON object");
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *get(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

static int wrong(struct err *err, const char *name, const char *expected)
{
    return err_set(err, ERR_INVALID, 0, "\"%s\" must be %s", name, expected);
}

int field_string(const json_t *object, const char *name, const char **ret, struct err *err)
{
    json_t *value = get(object, name);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return wrong(err, name, "a string");
    *ret = json_string_value(value);
    return 1;
}

int field_bool(const json_t *object, const char *name, bool *ret, struct err *err)
{
    json_t *value = get(object, name);
    if (!value)
        return 0;
    if (!json_is_boolean(value))
        return wrong(err, name, "true or false");
    *ret = json_is_true(value);
    return 1;
}

int field_integer(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
                  struct err *err)
{
    json_t *value = get(object, name);
    if (!value)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < min) {
        if (min == 1)
            return wrong(err, name, "a positive integer");
        if (min == 0)
            return wrong(err, name, "an integer, 0 or more");
        return err_set(err, ERR_INVALID, 0, "\"%s\" must be an integer from %lld", name,
                       (long long)min);
    }
    if (json_integer_value(value) > max)
        return err_set(err, ERR_INVALID, 0, "\"%s\" must be at most %lld", name, (long long)max);
    *ret = json_integer_value(value);
    return 1;
}

int field_object(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    json_t *value = get(object, name);
    if (!value)
        return 0;
    if (!json_is_object(value))
        return wrong(err, name, "an object");
    *ret = value;
    return 1;
}

int field_array(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    json_t *value = get(object, name);
    if (!value)
        return 0;
    if (!json_is_array(value))
        return wrong(err, name, "an array");
    *ret = value;
    return 1;
}

int field_string_map(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    json_t *map = NULL, *value;
    const char *key;
    int rc = field_object(object, name, &map, err);
    if (rc <= 0)
        return rc;
    json_object_foreach (map, key, value) {
        if (!json_is_string(value))
            return err_set(err, ERR_INVALID, 0, "\"%s\": the value of \"%.64s\" must be a string",
                           name, key);
    }
    *ret = map;
    return 1;
}
