/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages (RFC 1035), as far as addresses of names need them. Pure: bytes in, values out, and
 * the other way round. */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hostname.h"

enum {
    DNS_MESSAGE_MAX = 1232, /* fits into any packet */
    DNS_ADDRESSES_MAX = 16,
    DNS_TYPE_A = 1,
    DNS_NO_ERROR = 0,
    DNS_FORMAT_ERROR = 1,
    DNS_SERVER_FAILURE = 2,
    DNS_NO_NAME = 3,
    DNS_NOT_IMPLEMENTED = 4,
};

struct dns_question {
    uint16_t id;
    uint16_t flags; /* as they came */
    uint16_t type, class;
    uint8_t wire[HOSTNAME_SIZE + 4]; /* name, type and class as they came */
    size_t wire_len;
    char name[HOSTNAME_SIZE]; /* normalized, "" if it is no host name */
};

struct dns_answer {
    unsigned code;
    uint32_t ttl; /* seconds; the least of all that led to the addresses */
    struct in_addr addresses[DNS_ADDRESSES_MAX];
    unsigned count;
};

/* Reads a query. 0, or -EINVAL when it is none that could be answered at all. A question of another
 * opcode, or more than one, has wire_len 0 and is answered with DNS_NOT_IMPLEMENTED. */
int dns_read_query(const void *message, size_t n, struct dns_question *ret);
/* Writes the answer to it: addresses only for questions about them. Returns the length. */
size_t dns_write_answer(const struct dns_question *question, const struct dns_answer *answer,
                        uint8_t out[DNS_MESSAGE_MAX]);

/* Writes a question for the addresses of a name. Returns the length. */
size_t dns_write_query(uint16_t id, const char *name, uint8_t out[DNS_MESSAGE_MAX]);
/* Reads the answer to that question. 0, or -EINVAL when it is malformed or answers another one. */
int dns_read_answer(const void *message, size_t n, uint16_t id, const char *name,
                    struct dns_answer *ret);
