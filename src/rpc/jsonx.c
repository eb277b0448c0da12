/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf's JSON mapping over jansson. */
#include "rpc/jsonx.h"

#include <errno.h>
#include <math.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { NAME_MAX_BYTES = 64 };

/* exitCode -> exit_code. False if there is no difference (or the name is absurdly long). */
static bool snake_case(const char *camel, char out[NAME_MAX_BYTES])
{
    size_t n = 0;
    bool different = false;
    for (; *camel; camel++) {
        if (n + 3 > NAME_MAX_BYTES)
            return false;
        if (*camel >= 'A' && *camel <= 'Z') {
            out[n++] = '_';
            out[n++] = (char)(*camel - 'A' + 'a');
            different = true;
        } else {
            out[n++] = *camel;
        }
    }
    out[n] = '\0';
    return different;
}

json_t *jsonx_get(const json_t *object, const char *name)
{
    char snake[NAME_MAX_BYTES];
    json_t *value = json_object_get(object, name);
    if (!value && snake_case(name, snake))
        value = json_object_get(object, snake);
    return json_is_null(value) ? NULL : value;
}

static int wrong(struct err *err, const char *name, const char *expected)
{
    return err_set(err, ERR_INVALID, 0, "field '%s' must be %s", name, expected);
}

int jsonx_text(const json_t *object, const char *name, struct str *ret, struct err *err)
{
    const json_t *value = jsonx_get(object, name);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return wrong(err, name, "a string");
    *ret = (struct str){json_string_value(value), json_string_length(value)};
    return 1;
}

int jsonx_bool(const json_t *object, const char *name, bool *ret, struct err *err)
{
    const json_t *value = jsonx_get(object, name);
    if (!value)
        return 0;
    if (!json_is_boolean(value))
        return wrong(err, name, "true or false");
    *ret = json_is_true(value);
    return 1;
}

/* A JSON integer, a real without a fraction (1e3), or decimal text. */
static bool integer(const json_t *value, int64_t min, int64_t max, int64_t *ret)
{
    int64_t n;
    if (json_is_integer(value)) {
        n = json_integer_value(value);
    } else if (json_is_real(value)) {
        double d = json_real_value(value);
        if (!(d >= -9007199254740992.0 && d <= 9007199254740992.0) || d != trunc(d))
            return false;
        n = (int64_t)d;
    } else if (json_is_string(value)) {
        struct str text = {json_string_value(value), json_string_length(value)};
        return str_to_i64(text, min, max, ret) == 0;
    } else {
        return false;
    }
    if (n < min || n > max)
        return false;
    *ret = n;
    return true;
}

int jsonx_u32(const json_t *object, const char *name, uint32_t *ret, struct err *err)
{
    const json_t *value = jsonx_get(object, name);
    int64_t n;
    if (!value)
        return 0;
    if (!integer(value, 0, UINT32_MAX, &n))
        return wrong(err, name, "an unsigned 32-bit integer");
    *ret = (uint32_t)n;
    return 1;
}

int jsonx_i64(const json_t *object, const char *name, int64_t *ret, struct err *err)
{
    const json_t *value = jsonx_get(object, name);
    int64_t n;
    if (!value)
        return 0;
    if (!integer(value, INT64_MIN, INT64_MAX, &n))
        return wrong(err, name, "a 64-bit integer");
    *ret = n;
    return 1;
}

int jsonx_object(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    json_t *value = jsonx_get(object, name);
    if (!value)
        return 0;
    if (!json_is_object(value))
        return wrong(err, name, "an object");
    *ret = value;
    return 1;
}

int jsonx_array(const json_t *object, const char *name, json_t **ret, struct err *err)
{
    json_t *value = jsonx_get(object, name);
    if (!value)
        return 0;
    if (!json_is_array(value))
        return wrong(err, name, "an array");
    *ret = value;
    return 1;
}

int jsonx_bytes(const json_t *object, const char *name, char **ret, size_t *ret_len,
                struct err *err)
{
    struct str text;
    int rc = jsonx_text(object, name, &text, err);
    if (rc <= 0)
        return rc;
    /* The length is bounded by the message's, which the caller has limited. */
    _cleanup_free_ char *bytes = xmalloc(text.len / 4 * 3 + 3);
    ssize_t n = base64_decode(text, bytes);
    if (n < 0)
        return wrong(err, name, "base64");
    *ret = TAKE_PTR(bytes);
    *ret_len = (size_t)n;
    return 1;
}

int jsonx_enum(const json_t *object, const char *name, const struct jsonx_enum *values, int *ret,
               struct err *err)
{
    const json_t *value = jsonx_get(object, name);
    int64_t n;
    if (!value)
        return 0;
    if (json_is_string(value)) {
        for (; values->name; values++) {
            if (strcmp(values->name, json_string_value(value)) == 0) {
                *ret = values->value;
                return 1;
            }
        }
        return err_set(err, ERR_INVALID, 0, "field '%s' has no value '%.64s'", name,
                       json_string_value(value));
    }
    if (!integer(value, INT32_MIN, INT32_MAX, &n))
        return wrong(err, name, "an enum's name or number");
    *ret = (int)n;
    return 1;
}

void jsonx_put_text(json_t *object, const char *name, const char *text)
{
    if (text && *text)
        json_object_set_new(object, name, jsonx_lossy_text(str_from(text)));
}

void jsonx_put_u32(json_t *object, const char *name, uint32_t value)
{
    if (value)
        json_object_set_new(object, name, json_integer(value));
}

void jsonx_put_i64(json_t *object, const char *name, int64_t value)
{
    char text[24];
    if (!value)
        return;
    snprintf(text, sizeof text, "%lld", (long long)value);
    json_object_set_new(object, name, json_string(text));
}

void jsonx_put_bool(json_t *object, const char *name, bool value)
{
    if (value)
        json_object_set_new(object, name, json_true());
}

/* Bytes of the valid character at p, 0 if there is none. */
static size_t character(const char *p, size_t left)
{
    for (size_t n = 1; n <= 4 && n <= left; n++)
        if (utf8_valid((struct str){p, n}))
            return n;
    return 0;
}

json_t *jsonx_lossy_text(struct str text)
{
    if (utf8_valid(text))
        return json_stringn_nocheck(text.p, text.len);
    struct buf out;
    buf_init(&out, text.len * 3);
    for (size_t i = 0; i < text.len;) {
        size_t n = character(text.p + i, text.len - i);
        if (n)
            buf_append(&out, text.p + i, n);
        else
            buf_append_z(&out, "\xef\xbf\xbd");
        i += n ? n : 1;
    }
    json_t *value = json_stringn_nocheck(buf_ptr(&out), buf_len(&out));
    buf_done(&out);
    return value;
}
