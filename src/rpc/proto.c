/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf's binary encoding, by table. */
#include <errno.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/mem.h"
#include "rpc/proto-internal.h"

enum { TEXT_MAX = 16 << 20 }; /* of a message while it is being built */

const struct proto_method *proto_method(struct str path)
{
    for (const struct proto_method *m = proto_methods; m->path; m++)
        if (str_eqz(path, m->path))
            return m;
    return NULL;
}

/* ---- from the wire ---- */

struct reader {
    struct str left;
    size_t elements; /* of lists and maps so far */
    struct err *err;
};

static int malformed(struct reader *r, const char *what)
{
    return err_set(r->err, ERR_INVALID, 0, "malformed message: %s", what);
}

static int take_varint(struct reader *r, uint64_t *ret)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < PROTO_VARINT_MAX && i < r->left.len; i++) {
        unsigned char byte = (unsigned char)r->left.p[i];
        n |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        r->left = (struct str){r->left.p + i + 1, r->left.len - i - 1};
        *ret = n;
        return 0;
    }
    return malformed(r, "a number is cut or too long");
}

static int take_bytes(struct reader *r, uint64_t n, struct str *ret)
{
    if (n > r->left.len)
        return malformed(r, "a field is longer than the message");
    *ret = (struct str){r->left.p, (size_t)n};
    r->left = (struct str){r->left.p + n, r->left.len - (size_t)n};
    return 0;
}

/* A field as it lies there: a number or bytes. */
struct value {
    enum proto_wire wire;
    uint64_t number;
    struct str bytes;
};

static int take_value(struct reader *r, uint64_t key, struct value *ret)
{
    uint64_t len = 0;
    switch (key & 7) {
    case PROTO_VARINT:
        ret->wire = PROTO_VARINT;
        return take_varint(r, &ret->number);
    case PROTO_64:
        ret->wire = PROTO_64;
        return take_bytes(r, 8, &ret->bytes);
    case PROTO_32:
        ret->wire = PROTO_32;
        return take_bytes(r, 4, &ret->bytes);
    case PROTO_BYTES:
        ret->wire = PROTO_BYTES;
        return take_varint(r, &len) < 0 ? -EINVAL : take_bytes(r, len, &ret->bytes);
    default:
        return malformed(r, "a field of an unknown kind");
    }
}

static int text_value(struct reader *r, const char *name, struct str text, json_t **ret)
{
    if (memchr(text.p, '\0', text.len))
        return err_set(r->err, ERR_INVALID, 0, "field '%s' has a NUL character", name);
    *ret = json_stringn(text.len ? text.p : "", text.len);
    return *ret ? 0 : err_set(r->err, ERR_INVALID, 0, "field '%s' is not UTF-8", name);
}

static json_t *bytes_value(struct str bytes)
{
    _cleanup_free_ char *text = xmalloc(BASE64_SIZE(bytes.len) + 1);
    size_t n = base64_encode(bytes.p, bytes.len, text);
    return json_stringn_nocheck(text, n);
}

static json_t *i64_value(uint64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)(int64_t)n);
    return json_string(text);
}

static int read_message(struct reader *r, const struct proto_message *message, json_t *into);

/* An entry of a map: key 1, value 2. */
static int read_entry(struct reader *r, const char *name, struct str bytes, json_t *map)
{
    struct reader entry = {.left = bytes, .err = r->err};
    struct str texts[2] = {STR(""), STR("")};
    uint64_t key = 0;
    json_t *first = NULL, *second = NULL;
    int rc = 0;
    while (rc == 0 && entry.left.len) {
        struct value value;
        rc = take_varint(&entry, &key);
        if (rc == 0)
            rc = take_value(&entry, key, &value);
        if (rc == 0 && (key >> 3 == 1 || key >> 3 == 2) && value.wire == PROTO_BYTES)
            texts[(key >> 3) - 1] = value.bytes;
    }
    if (rc == 0)
        rc = text_value(r, name, texts[0], &first);
    if (rc == 0)
        rc = text_value(r, name, texts[1], &second);
    if (rc == 0)
        json_object_set_new(map, json_string_value(first), TAKE_PTR(second));
    json_decref(first);
    json_decref(second);
    return rc;
}

static json_t *member(json_t *into, const char *name, bool array)
{
    json_t *value = json_object_get(into, name);
    if (!value) {
        value = array ? json_array() : json_object();
        json_object_set_new(into, name, value);
    }
    return value;
}

static int read_submessage(struct reader *r, const struct proto_field *field, struct str bytes,
                           json_t *into)
{
    struct reader inner = {.left = bytes, .elements = r->elements, .err = r->err};
    json_t *target;
    if (field->repeated) {
        target = json_object();
        json_array_append_new(member(into, field->name, true), target);
    } else {
        target = member(into, field->name, false);
    }
    int rc = read_message(&inner, field->message, target);
    r->elements = inner.elements;
    return rc;
}

static int read_scalar(struct reader *r, const struct proto_field *field, const struct value *value,
                       json_t **ret)
{
    uint64_t n = value->number;
    switch (field->kind) {
    case KIND_TEXT:
        return text_value(r, field->name, value->bytes, ret);
    case KIND_BYTES:
        *ret = bytes_value(value->bytes);
        return 0;
    case KIND_BOOL:
        *ret = json_boolean(n);
        return 0;
    case KIND_U32:
        *ret = json_integer((uint32_t)n);
        return 0;
    case KIND_S32:
        *ret = json_integer((int32_t)((uint32_t)n >> 1) ^ -(int32_t)((uint32_t)n & 1));
        return 0;
    case KIND_ENUM:
        *ret = json_integer((int32_t)n);
        return 0;
    case KIND_I64:
        *ret = i64_value(n);
        return 0;
    case KIND_MESSAGE:
    case KIND_TEXT_MAP:
    case KIND_TIME: /* only ever sent by us */
        break;
    }
    return 0;
}

static bool wants_bytes(enum proto_kind kind)
{
    return kind == KIND_TEXT || kind == KIND_BYTES || kind == KIND_MESSAGE ||
           kind == KIND_TEXT_MAP || kind == KIND_TIME;
}

static int read_field(struct reader *r, const struct proto_message *message,
                      const struct proto_field *field, const struct value *value, json_t *into)
{
    json_t *scalar = NULL;
    if (value->wire != (wants_bytes(field->kind) ? PROTO_BYTES : PROTO_VARINT))
        return err_set(r->err, ERR_INVALID, 0, "field '%s' is of another kind", field->name);
    if ((field->repeated || field->kind == KIND_TEXT_MAP) && ++r->elements > PROTO_ELEMENTS_MAX)
        return err_set(r->err, ERR_INVALID, 0, "field '%s' has too many elements", field->name);
    for (const struct proto_field *f = message->fields; field->oneof && f->name; f++)
        if (f->oneof == field->oneof && f != field)
            json_object_del(into, f->name);
    if (field->kind == KIND_MESSAGE)
        return read_submessage(r, field, value->bytes, into);
    if (field->kind == KIND_TEXT_MAP)
        return read_entry(r, field->name, value->bytes, member(into, field->name, false));
    int rc = read_scalar(r, field, value, &scalar);
    if (rc < 0 || !scalar)
        return rc;
    if (field->repeated)
        json_array_append_new(member(into, field->name, true), scalar);
    else
        json_object_set_new(into, field->name, scalar);
    return 0;
}

static int read_message(struct reader *r, const struct proto_message *message, json_t *into)
{
    while (r->left.len) {
        uint64_t key = 0;
        struct value value = {0};
        int rc = take_varint(r, &key);
        if (rc == 0 && (key >> 3 == 0 || key >> 3 > 0x1fffffff))
            rc = malformed(r, "a field without a number");
        if (rc == 0)
            rc = take_value(r, key, &value);
        if (rc < 0)
            return rc;
        for (const struct proto_field *f = message->fields; f->name; f++)
            if (f->number == key >> 3 && (rc = read_field(r, message, f, &value, into)) < 0)
                return rc;
    }
    return 0;
}

int proto_decode(const struct proto_message *message, struct str bytes, json_t **ret,
                 struct err *err)
{
    struct reader r = {.left = bytes, .err = err};
    json_t *into = json_object();
    int rc = read_message(&r, message, into);
    if (rc < 0) {
        json_decref(into);
        return rc;
    }
    *ret = into;
    return 0;
}

/* ---- to the wire ---- */

size_t proto_put_varint(char *to, uint64_t n)
{
    size_t i = 0;
    for (; n >= 0x80; n >>= 7)
        to[i++] = (char)(n | 0x80);
    to[i++] = (char)n;
    return i;
}

size_t proto_put_key(char *to, uint32_t field, enum proto_wire wire)
{
    return proto_put_varint(to, (uint64_t)field << 3 | (uint64_t)wire);
}

static int write_number(struct buf *out, uint32_t field, uint64_t n)
{
    char bytes[2 * PROTO_VARINT_MAX];
    size_t len = proto_put_key(bytes, field, PROTO_VARINT);
    len += proto_put_varint(bytes + len, n);
    return buf_append(out, bytes, len);
}

static int write_bytes(struct buf *out, uint32_t field, struct str value)
{
    char bytes[2 * PROTO_VARINT_MAX];
    size_t len = proto_put_key(bytes, field, PROTO_BYTES);
    len += proto_put_varint(bytes + len, value.len);
    int rc = buf_append(out, bytes, len);
    return rc < 0 ? rc : buf_append_str(out, value);
}

static int write_inner(struct buf *out, uint32_t field, const struct proto_message *message,
                       const json_t *in)
{
    _cleanup_(buf_done) struct buf inner;
    buf_init(&inner, TEXT_MAX);
    int rc = proto_encode(message, in, &inner);
    return rc < 0 ? rc : write_bytes(out, field, buf_str(&inner));
}

static int write_map(struct buf *out, uint32_t field, json_t *map)
{
    const char *key;
    json_t *value;
    json_object_foreach (map, key, value) {
        _cleanup_(buf_done) struct buf inner;
        buf_init(&inner, TEXT_MAX);
        int rc = write_bytes(&inner, 1, str_from(key));
        if (rc == 0)
            rc = write_bytes(&inner, 2,
                             (struct str){json_string_value(value), json_string_length(value)});
        if (rc == 0)
            rc = write_bytes(out, field, buf_str(&inner));
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A Timestamp: seconds 1, nanoseconds 2. */
static int write_time(struct buf *out, uint32_t field, struct str text)
{
    _cleanup_(buf_done) struct buf inner;
    int64_t ns;
    if (clock_parse(text, &ns) < 0)
        return -EINVAL;
    int64_t seconds = ns / CLOCK_S - (ns % CLOCK_S < 0);
    buf_init(&inner, 64);
    int rc = write_number(&inner, 1, (uint64_t)seconds);
    if (rc == 0)
        rc = write_number(&inner, 2, (uint64_t)(ns - seconds * CLOCK_S));
    return rc < 0 ? rc : write_bytes(out, field, buf_str(&inner));
}

static int write_base64(struct buf *out, uint32_t field, struct str text)
{
    _cleanup_free_ char *bytes = xmalloc(text.len / 4 * 3 + 3);
    ssize_t n = base64_decode(text, bytes);
    return n < 0 ? -EINVAL : write_bytes(out, field, (struct str){bytes, (size_t)n});
}

static int write_value(struct buf *out, const struct proto_field *field, json_t *value)
{
    struct str text = {json_string_value(value), json_string_length(value)};
    json_t *holder = json_pack("{s:O}", "v", value);
    struct err err;
    int64_t n = 0;
    int number = 0, rc = 0;
    bool is_text = json_is_string(value);
    switch (field->kind) {
    case KIND_TEXT:
        rc = is_text ? write_bytes(out, field->number, text) : -EINVAL;
        break;
    case KIND_BYTES:
        rc = is_text ? write_base64(out, field->number, text) : -EINVAL;
        break;
    case KIND_TIME:
        rc = is_text ? write_time(out, field->number, text) : -EINVAL;
        break;
    case KIND_BOOL:
        rc = write_number(out, field->number, json_is_true(value));
        break;
    case KIND_ENUM:
        rc = jsonx_enum(holder, "v", field->values, &number, &err);
        rc = rc < 0 ? rc : write_number(out, field->number, (uint64_t)(int64_t)number);
        break;
    case KIND_S32:
    case KIND_U32:
    case KIND_I64:
        rc = jsonx_i64(holder, "v", &n, &err);
        if (field->kind == KIND_S32)
            n = (int64_t)((uint32_t)(n * 2) ^ (uint32_t)(n < 0 ? -1 : 0));
        rc = rc < 0 ? rc : write_number(out, field->number, (uint64_t)n);
        break;
    case KIND_MESSAGE:
        rc = write_inner(out, field->number, field->message, value);
        break;
    case KIND_TEXT_MAP:
        rc = write_map(out, field->number, value);
        break;
    }
    json_decref(holder);
    return rc;
}

int proto_encode(const struct proto_message *message, const json_t *in, struct buf *out)
{
    for (const struct proto_field *f = message->fields; f->name; f++) {
        json_t *value = jsonx_get(in, f->name), *element;
        size_t i;
        int rc = 0;
        if (!value)
            continue;
        if (!f->repeated)
            rc = write_value(out, f, value);
        json_array_foreach (f->repeated ? value : NULL, i, element) {
            rc = write_value(out, f, element);
            if (rc < 0)
                break;
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

int proto_encode_text(const struct proto_message *message, struct str json, struct buf *out)
{
    json_t *in = json_loadb(json.p, json.len, JSON_ALLOW_NUL, NULL);
    if (!in)
        return -EINVAL;
    int rc = proto_encode(message, in, out);
    json_decref(in);
    return rc;
}
