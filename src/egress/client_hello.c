/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a ClientHello. */
#include "egress/client_hello.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    RECORD_HEAD = 5,
    RECORD_HANDSHAKE = 22,
    RECORD_BYTES_MAX = 16384,
    HANDSHAKE_HEAD = 4,
    HANDSHAKE_CLIENT_HELLO = 1,
    RANDOM_BYTES = 32,
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_ECH = 0xfe0d,
    EXTENSION_ESNI = 0xffce, /* its predecessor */
    NAME_TYPE_HOST = 0,
};

/* What is left to be read; broken once more was wanted than there is. */
struct reader {
    const uint8_t *p;
    size_t left;
    bool broken;
};

static const uint8_t *take(struct reader *r, size_t n)
{
    if (r->broken || n > r->left) {
        r->broken = true;
        return NULL;
    }
    const uint8_t *at = r->p;
    r->p += n;
    r->left -= n;
    return at;
}

static size_t take_number(struct reader *r, size_t bytes)
{
    const uint8_t *at = take(r, bytes);
    size_t value = 0;
    for (size_t i = 0; at && i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* A vector: its length in so many bytes, then its content. */
static struct reader take_vector(struct reader *r, size_t length_bytes)
{
    size_t n = take_number(r, length_bytes);
    const uint8_t *at = take(r, n);
    return (struct reader){at, at ? n : 0, at == NULL};
}

/* Joins the fragments of the records into message; *ret_len is how much of it is there. */
static enum hello join(const uint8_t *bytes, size_t n, uint8_t *message, size_t *ret_len)
{
    size_t len = 0;
    for (int records = 0; n > 0; records++) {
        if (bytes[0] != RECORD_HANDSHAKE || (n > 1 && bytes[1] != 3))
            return HELLO_MALFORMED;
        if (n < RECORD_HEAD)
            break;
        size_t fragment = (size_t)bytes[3] << 8 | bytes[4];
        if (fragment == 0 || fragment > RECORD_BYTES_MAX)
            return HELLO_MALFORMED;
        if (records == HELLO_RECORDS_MAX)
            return HELLO_TOO_LARGE;
        size_t here = n - RECORD_HEAD < fragment ? n - RECORD_HEAD : fragment;
        size_t room = HELLO_BYTES_MAX - len;
        memcpy(message + len, bytes + RECORD_HEAD, here < room ? here : room);
        len += here < room ? here : room;
        bytes += RECORD_HEAD + here;
        n -= RECORD_HEAD + here;
        /* What comes behind the message is none of our business. */
        if (len >= HANDSHAKE_HEAD &&
            len >= HANDSHAKE_HEAD +
                       ((size_t)message[1] << 16 | (size_t)message[2] << 8 | (size_t)message[3]))
            break;
        if (here < fragment)
            break;
    }
    *ret_len = len;
    return HELLO_MORE;
}

/* server_name: one list of which only host names count, and only one of those may be there. */
static enum hello read_server_name(struct reader extension, char name[HOSTNAME_SIZE])
{
    struct reader list = take_vector(&extension, 2);
    enum hello found = HELLO_NAMELESS;
    if (list.broken || extension.left > 0)
        return HELLO_MALFORMED;
    while (list.left > 0) {
        size_t type = take_number(&list, 1);
        struct reader entry = take_vector(&list, 2);
        if (entry.broken)
            return HELLO_MALFORMED;
        if (type != NAME_TYPE_HOST)
            continue;
        if (found == HELLO_NAMED)
            return HELLO_MALFORMED;
        if (hostname_normalize((struct str){(const char *)entry.p, entry.left}, name))
            found = HELLO_NAMED;
    }
    return found;
}

static enum hello read_extensions(struct reader extensions, char name[HOSTNAME_SIZE])
{
    bool seen = false, encrypted = false;
    enum hello found = HELLO_NAMELESS;
    while (extensions.left > 0) {
        size_t type = take_number(&extensions, 2);
        struct reader extension = take_vector(&extensions, 2);
        if (extension.broken || (seen && type == EXTENSION_SERVER_NAME))
            return HELLO_MALFORMED;
        if (type == EXTENSION_SERVER_NAME) {
            seen = true;
            found = read_server_name(extension, name);
        }
        encrypted = encrypted || type == EXTENSION_ECH || type == EXTENSION_ESNI;
    }
    return encrypted && found != HELLO_MALFORMED ? HELLO_ENCRYPTED : found;
}

static enum hello read_message(struct reader message, char name[HOSTNAME_SIZE])
{
    size_t version = take_number(&message, 2);
    take(&message, RANDOM_BYTES);
    struct reader session = take_vector(&message, 1);
    struct reader ciphers = take_vector(&message, 2);
    struct reader compressions = take_vector(&message, 1);
    if (session.broken || ciphers.broken || compressions.broken || version >> 8 != 3)
        return HELLO_MALFORMED;
    if (message.left == 0)
        return HELLO_NAMELESS; /* from before there were extensions */
    struct reader extensions = take_vector(&message, 2);
    if (extensions.broken || message.left > 0)
        return HELLO_MALFORMED;
    return read_extensions(extensions, name);
}

enum hello hello_read(const void *bytes, size_t n, char name[HOSTNAME_SIZE])
{
    uint8_t message[HELLO_BYTES_MAX];
    char found[HOSTNAME_SIZE];
    size_t len = 0;
    enum hello verdict = join(bytes, n, message, &len);
    if (verdict != HELLO_MORE || len < HANDSHAKE_HEAD)
        return len > 0 && message[0] != HANDSHAKE_CLIENT_HELLO ? HELLO_MALFORMED : verdict;
    if (message[0] != HANDSHAKE_CLIENT_HELLO)
        return HELLO_MALFORMED;
    struct reader all = {message + 1, len - 1, false};
    size_t announced = take_number(&all, 3);
    if (announced > HELLO_BYTES_MAX - HANDSHAKE_HEAD)
        return HELLO_TOO_LARGE;
    if (all.left < announced)
        return HELLO_MORE;
    all.left = announced;
    verdict = read_message(all, found);
    if (verdict == HELLO_NAMED)
        memcpy(name, found, HOSTNAME_SIZE);
    return verdict;
}
