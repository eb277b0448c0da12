/* SPDX-License-Identifier: Apache-2.0 */
/* gzip decoding in bounded pieces; what comes out belongs to the callback. */
#include "http/inflate.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <zlib.h>

#include "base/mem.h"

struct inflate {
    z_stream z;
    inflate_out_fn *out;
    void *arg;
    bool fresh; /* between members: nothing of the next one has been seen */
    bool ended; /* at least one member is complete */
    bool failed;
    unsigned char piece[64 * 1024];
};

struct inflate *inflate_new(inflate_out_fn *out, void *arg)
{
    struct inflate *z = xcalloc(1, sizeof *z);
    z->out = out;
    z->arg = arg;
    z->fresh = true;
    if (inflateInit2(&z->z, 16 + MAX_WBITS) != Z_OK) /* 16: a gzip wrapper and no other */
        abort();                                     /* only memory can lack here */
    return z;
}

/* One call of zlib: hands on what came out. 0 or negative. */
static int step(struct inflate *z, struct err *err)
{
    z->z.next_out = z->piece;
    z->z.avail_out = sizeof z->piece;
    int r = inflate(&z->z, Z_NO_FLUSH);
    size_t n = sizeof z->piece - z->z.avail_out;
    if (n) {
        int taken = z->out((const char *)z->piece, n, z->arg);
        if (taken < 0)
            return taken;
    }
    if (r == Z_STREAM_END) {
        z->ended = z->fresh = true;
        inflateReset(&z->z);
        return 0;
    }
    if (r != Z_OK && r != Z_BUF_ERROR) /* Z_BUF_ERROR: all input is used up */
        return err_set(err, ERR_INVALID, 0, "gzip: %s", z->z.msg ? z->z.msg : "malformed data");
    return 0;
}

static int feed_some(struct inflate *z, const char *p, unsigned n, struct err *err)
{
    z->z.next_in = (unsigned char *)(uintptr_t)p;
    z->z.avail_in = n;
    int r = 0;
    /* A full piece may have more behind it although the input is used up. */
    do {
        if (z->fresh && z->z.avail_in == 0)
            break;
        z->fresh = false;
        r = step(z, err);
    } while (r == 0 && (z->z.avail_in || z->z.avail_out == 0));
    return r;
}

int inflate_feed(struct inflate *z, const char *p, size_t n, struct err *err)
{
    if (z->failed)
        return err_set(err, ERR_INVALID, 0, "gzip: fed after a failure");
    int r = 0;
    while (r == 0 && n) {
        unsigned some = n > INT_MAX ? INT_MAX : (unsigned)n;
        r = feed_some(z, p, some, err);
        p += some;
        n -= some;
    }
    z->failed = r < 0;
    return r;
}

int inflate_finish(struct inflate *z, struct err *err)
{
    if (!z->failed && z->ended && z->fresh)
        return 0;
    return err_set(err, ERR_INVALID, 0, "gzip: the stream is cut");
}

void inflate_free(struct inflate *z)
{
    if (!z)
        return;
    inflateEnd(&z->z);
    free(z);
}
