/* SPDX-License-Identifier: Apache-2.0 */
/* Base64. Encoding is on the hot path of process output: 12 bits a table look-up. */
#include "base/base64.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char pairs[4096][2]; /* two characters for each 12 bits */
static pthread_once_t pairs_once = PTHREAD_ONCE_INIT;

static void make_pairs(void)
{
    for (size_t i = 0; i < 4096; i++) {
        pairs[i][0] = alphabet[i >> 6];
        pairs[i][1] = alphabet[i & 63];
    }
}

size_t base64_encode(const void *p, size_t n, char *out)
{
    pthread_once(&pairs_once, make_pairs);
    const unsigned char *in = p;
    char *o = out;
    for (; n >= 3; n -= 3, in += 3, o += 4) {
        uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        memcpy(o, pairs[v >> 12], 2);
        memcpy(o + 2, pairs[v & 4095], 2);
    }
    if (n) {
        uint32_t v = (uint32_t)in[0] << 16 | (n == 2 ? (uint32_t)in[1] << 8 : 0);
        o[0] = alphabet[v >> 18];
        o[1] = alphabet[v >> 12 & 63];
        o[2] = n == 2 ? alphabet[v >> 6 & 63] : '=';
        o[3] = '=';
        o += 4;
    }
    return (size_t)(o - out);
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

ssize_t base64_decode(struct str s, void *out)
{
    unsigned char *o = out;
    uint32_t bits = 0;
    int have = 0;
    size_t padding = 0;
    while (s.len && s.p[s.len - 1] == '=' && padding < 2) {
        s.len--;
        padding++;
    }
    if (padding && (s.len + padding) % 4 != 0)
        return -EINVAL;
    for (size_t i = 0; i < s.len; i++) {
        int d = digit(s.p[i]);
        if (d < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            *o++ = (unsigned char)(bits >> have);
            bits &= (1u << have) - 1;
        }
    }
    if (have == 6) /* a lone character cannot carry a byte */
        return -EINVAL;
    return o - (unsigned char *)out;
}
