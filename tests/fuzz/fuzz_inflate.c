/* SPDX-License-Identifier: Apache-2.0 */
/* gzip bodies: however the input is cut, the same bytes come out, in bounded pieces. */
#include "http/inflate.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t hash, bytes;
};

static int on_out(const char *p, size_t n, void *arg)
{
    struct sum *s = arg;
    assert(n > 0 && n <= 65536);
    for (size_t i = 0; i < n; i++)
        s->hash = (s->hash ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
    s->bytes += n;
    return s->bytes > (8u << 20) ? -EFBIG : 0;
}

static int decode(const char *p, size_t size, size_t step, struct sum *sum)
{
    struct err err;
    struct inflate *z = inflate_new(on_out, sum);
    int r = 0;
    for (size_t i = 0; r == 0 && i < size; i += step)
        r = inflate_feed(z, p + i, size - i < step ? size - i : step, &err);
    r = r ? r : inflate_finish(z, &err);
    inflate_free(z);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sum whole = {0}, cut = {0};
    const char *p = (const char *)data + 1;
    int a = decode(p, size - 1, size, &whole), b = decode(p, size - 1, data[0] % 16u + 1, &cut);
    assert(a == b);
    assert(a < 0 || (whole.hash == cut.hash && whole.bytes == cut.bytes));
    return 0;
}
