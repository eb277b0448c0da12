/* SPDX-License-Identifier: Apache-2.0 */
/* HMAC-SHA256 out of libcrypto. */
#include "interpreter/digest.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

void digest_hmac_hex(struct str key, struct str data, char out[DIGEST_HEX_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char d[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    unsigned char *done =
        HMAC(EVP_sha256(), key.p, (int)key.len, (const unsigned char *)data.p, data.len, d, &n);
    assert(done && n == 32);
    for (unsigned i = 0; i < n; i++) {
        out[2 * i] = hex[d[i] >> 4];
        out[2 * i + 1] = hex[d[i] & 15];
    }
    out[2 * n] = '\0';
}
