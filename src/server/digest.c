/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 on OpenSSL's EVP interface. Failures are out of memory or a broken library: abort. */
#include "server/digest.h"

#include <assert.h>
#include <openssl/evp.h>

#include "base/mem.h"

struct digest_prefix {
    EVP_MD_CTX *begun;
    EVP_MD_CTX *scratch;
};

static void must(int ok)
{
    if (ok != 1)
        abort();
}

void digest_sha256(struct str text, unsigned char out[DIGEST_SIZE])
{
    must(EVP_Digest(text.p, text.len, out, NULL, EVP_sha256(), NULL));
}

void digest_hex(const unsigned char digest[DIGEST_SIZE], char out[DIGEST_HEX_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < DIGEST_SIZE; i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    out[2 * DIGEST_SIZE] = '\0';
}

struct digest_prefix *digest_prefix_new(struct str beginning)
{
    struct digest_prefix *prefix = xmalloc(sizeof *prefix);
    prefix->begun = EVP_MD_CTX_new();
    prefix->scratch = EVP_MD_CTX_new();
    if (!prefix->begun || !prefix->scratch)
        abort();
    must(EVP_DigestInit_ex(prefix->begun, EVP_sha256(), NULL));
    must(EVP_DigestUpdate(prefix->begun, beginning.p, beginning.len));
    return prefix;
}

void digest_prefix_finish(const struct digest_prefix *prefix, struct str rest,
                          unsigned char out[DIGEST_SIZE])
{
    must(EVP_MD_CTX_copy_ex(prefix->scratch, prefix->begun));
    must(EVP_DigestUpdate(prefix->scratch, rest.p, rest.len));
    must(EVP_DigestFinal_ex(prefix->scratch, out, NULL));
}

void digest_prefix_free(struct digest_prefix *prefix)
{
    if (!prefix)
        return;
    EVP_MD_CTX_free(prefix->begun);
    EVP_MD_CTX_free(prefix->scratch);
    free(prefix);
}
