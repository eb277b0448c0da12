/* SPDX-License-Identifier: Apache-2.0 */
/* Members of JSON objects as the wire has them. */
#include "client/fields.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

const char *fields_text_or_null(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

const char *fields_text(const json_t *object, const char *name)
{
    const char *text = fields_text_or_null(object, name);
    return text ? text : "";
}

int64_t fields_integer(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    int64_t n = 0;
    if (json_is_string(value))
        str_to_i64(str_from(json_string_value(value)), INT64_MIN, INT64_MAX, &n);
    else if (json_is_real(value) && json_real_value(value) >= -9e15 &&
             json_real_value(value) <= 9e15)
        n = (int64_t)json_real_value(value);
    else
        n = json_integer_value(value);
    return n;
}

int64_t fields_time_ms(const json_t *object, const char *name)
{
    int64_t ns = 0;
    clock_parse(str_from(fields_text(object, name)), &ns);
    return ns / CLOCK_MS;
}

json_t *fields_from_pairs(const struct carrel_pair *pairs)
{
    json_t *object = json_object();
    for (; pairs && pairs->name; pairs++)
        if (json_object_set_new(object, pairs->name, json_string(pairs->value)) < 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

struct carrel_pair *fields_to_pairs(json_t *object)
{
    struct carrel_pair *pairs = xcalloc(json_object_size(object) + 1, sizeof *pairs);
    const char *name;
    json_t *value;
    size_t n = 0;
    json_object_foreach (object, name, value)
        if (json_is_string(value))
            pairs[n++] = (struct carrel_pair){name, json_string_value(value)};
    return pairs;
}
