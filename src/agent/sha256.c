/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 by nettle, and its header fields. */
#include "agent/sha256.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/mem.h"

struct sha256 {
    struct sha256_ctx context;
};

struct sha256 *sha256_new(void)
{
    struct sha256 *s = xmalloc(sizeof *s);
    sha256_init(&s->context);
    return s;
}

void sha256_add(struct sha256 *s, const void *p, size_t n)
{
    sha256_update(&s->context, n, p);
}

void sha256_finish(struct sha256 *s, unsigned char out[SHA256_SIZE])
{
    sha256_digest(&s->context, SHA256_SIZE, out);
}

void sha256_free(struct sha256 *s)
{
    free(s);
}

void sha256_field(const unsigned char digest[SHA256_SIZE], char out[SHA256_FIELD_SIZE])
{
    char text[BASE64_SIZE(SHA256_SIZE)];
    size_t n = base64_encode(digest, SHA256_SIZE, text);
    snprintf(out, SHA256_FIELD_SIZE, "sha-256=:%.*s:", (int)n, text);
}

/* The next member of a dictionary field whose key is sha-256; its value. */
static bool find_member(struct str list, struct str *ret)
{
    struct str item, key;
    while (str_split(&list, ',', &item)) {
        item = str_trim(item);
        struct str rest = item;
        if (str_split(&rest, '=', &key) && str_ieqz(key, "sha-256")) {
            *ret = rest.p ? rest : STR("");
            return true;
        }
    }
    return false;
}

int sha256_field_parse(struct str value, unsigned char out[SHA256_SIZE])
{
    struct str text;
    unsigned char digest[SHA256_FIELD_SIZE];
    if (!find_member(value, &text))
        return 0;
    if (text.len != BASE64_SIZE(SHA256_SIZE) + 2 || text.p[0] != ':' || text.p[text.len - 1] != ':')
        return -EINVAL;
    if (base64_decode((struct str){text.p + 1, text.len - 2}, digest) != SHA256_SIZE)
        return -EINVAL;
    memcpy(out, digest, SHA256_SIZE);
    return 1;
}

bool sha256_wanted(struct str value)
{
    struct str text;
    return find_member(value, &text) && !str_eqz(text, "0");
}
