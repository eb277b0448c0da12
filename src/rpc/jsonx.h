/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf's JSON mapping over jansson (protocol.md 4.2). Reading: a member is found by its
 * lowerCamelCase or snake_case name, null counts as absent, 64-bit numbers may be strings, bytes are
 * base64. Writing: zero values are left out.
 *
 * Every reader takes the lowerCamelCase name, leaves *ret alone when the member is absent and
 * returns 1 when it is there, 0 when it is not, or -EINVAL with err naming the member. Texts never
 * contain NUL (rpc_decode refuses it). Views point into the tree and live as long as it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* The member, or NULL when it is absent or null. */
json_t *jsonx_get(const json_t *object, const char *name);

int jsonx_text(const json_t *object, const char *name, struct str *ret, struct err *err);
int jsonx_bool(const json_t *object, const char *name, bool *ret, struct err *err);
int jsonx_u32(const json_t *object, const char *name, uint32_t *ret, struct err *err);
int jsonx_i64(const json_t *object, const char *name, int64_t *ret, struct err *err);
int jsonx_object(const json_t *object, const char *name, json_t **ret, struct err *err);
int jsonx_array(const json_t *object, const char *name, json_t **ret, struct err *err);
/* base64 into a fresh allocation, to be freed by the caller. */
int jsonx_bytes(const json_t *object, const char *name, char **ret, size_t *ret_len,
                struct err *err);

struct jsonx_enum {
    const char *name; /* full protobuf name; NULL ends the table */
    int value;
};
/* A name of the table, or any int32 number. */
int jsonx_enum(const json_t *object, const char *name, const struct jsonx_enum *values, int *ret,
               struct err *err);

/* Writers for zero-omitting fields of an object being built. */
void jsonx_put_text(json_t *object, const char *name,
                    const char *text); /* NULL and "" are left out */
void jsonx_put_u32(json_t *object, const char *name, uint32_t value);
void jsonx_put_i64(json_t *object, const char *name, int64_t value); /* as a decimal string */
void jsonx_put_bool(json_t *object, const char *name, bool value);
/* Text of any bytes, for optional fields too (never left out): what is not UTF-8 becomes U+FFFD, so
 * that a strange file name cannot make an answer impossible. Owned by the caller. */
json_t *jsonx_lossy_text(struct str text);
