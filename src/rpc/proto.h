/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf's binary encoding of the messages of process.Process and filesystem.Filesystem
 * (protocol.md 4.4, 4.5), to and from the JSON trees that the services work with: a table says of
 * each message which field number has which name and kind. Unknown fields are skipped, the last
 * member of a oneof wins, messages that come twice are merged, as the encoding wants it.
 *
 * What comes from a peer is bounded by its own length, by PROTO_ELEMENTS_MAX and by the tables, none
 * of which is recursive. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum { PROTO_ELEMENTS_MAX = 1 << 18 }; /* elements and entries of a message's lists and maps */

struct proto_message;

struct proto_method {
    const char *path;
    const struct proto_message *request, *response;
};

/* The method of a request path, or NULL. */
const struct proto_method *proto_method(struct str path);

/* ERR_INVALID when it is malformed, or a text in it is not UTF-8 or has a NUL. The result is owned
 * by the caller. */
int proto_decode(const struct proto_message *message, struct str bytes, json_t **ret,
                 struct err *err);
/* Appends. 0, -ENOBUFS, or -EINVAL when a member is not of its kind. */
int proto_encode(const struct proto_message *message, const json_t *in, struct buf *out);
/* The same for JSON text. */
int proto_encode_text(const struct proto_message *message, struct str json, struct buf *out);

/* For those who write a message themselves: a field's head and a number. */
enum { PROTO_VARINT_MAX = 10 };
enum proto_wire { PROTO_VARINT = 0, PROTO_64 = 1, PROTO_BYTES = 2, PROTO_32 = 5 };
/* Each returns the bytes written to `to`, at most PROTO_VARINT_MAX. */
size_t proto_put_varint(char *to, uint64_t n);
size_t proto_put_key(char *to, uint32_t field, enum proto_wire wire);
