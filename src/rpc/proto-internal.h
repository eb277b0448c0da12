/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that describe messages: proto_tables.c fills them, proto.c reads them. */
#pragma once

#include "rpc/jsonx.h"
#include "rpc/proto.h"

enum proto_kind {
    KIND_TEXT,
    KIND_BYTES,
    KIND_BOOL,
    KIND_U32,
    KIND_S32, /* sint32: zigzag */
    KIND_I64, /* int64 and uint64 below 2^63 */
    KIND_ENUM,
    KIND_MESSAGE,
    KIND_TEXT_MAP, /* map<string, string> */
    KIND_TIME,     /* google.protobuf.Timestamp */
};

struct proto_field {
    uint32_t number;
    const char *name; /* lowerCamelCase; NULL ends the table */
    enum proto_kind kind;
    bool repeated;
    uint8_t oneof; /* fields of the same number exclude each other; 0: none */
    const struct proto_message *message;
    const struct jsonx_enum *values;
};

struct proto_message {
    const struct proto_field *fields;
};

extern const struct proto_method proto_methods[]; /* path NULL ends it */
