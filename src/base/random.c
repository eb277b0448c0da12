/* SPDX-License-Identifier: Apache-2.0 */
/* Unpredictable bytes and identifiers. */
#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *p, size_t n)
{
    char *next = p;
    while (n) {
        ssize_t got = getrandom(next, n, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            abort();
        }
        next += got;
        n -= (size_t)got;
    }
}

void random_hex(char *out, size_t digits)
{
    for (size_t i = 0; i < digits; i += 2) {
        unsigned char byte;
        random_bytes(&byte, 1);
        out[i] = "0123456789abcdef"[byte >> 4];
        if (i + 1 < digits)
            out[i + 1] = "0123456789abcdef"[byte & 15];
    }
    out[digits] = '\0';
}

void random_id(char *out, size_t count)
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    unsigned char pool[32];
    size_t used = sizeof pool;
    for (size_t i = 0; i < count;) {
        if (used == sizeof pool) {
            random_bytes(pool, sizeof pool);
            used = 0;
        }
        unsigned char byte = pool[used++];
        if (byte < 252) /* 7 * 36: no bias */
            out[i++] = alphabet[byte % 36];
    }
    out[count] = '\0';
}
