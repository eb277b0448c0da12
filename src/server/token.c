/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens and URL signatures. */
#include "server/token.h"

#include <stdio.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "http/head.h"
#include "server/digest.h"

/* "v1_" and the unpadded base64 of a SHA-256 */
enum { SIGNATURE_LEN = 3 + 43 };

struct token_signature {
    struct digest_prefix *prefix; /* of "path:op:username:" */
    char given[SIGNATURE_LEN];
    bool well_formed; /* the given text has a signature's length */
    bool has_expiration;
    int64_t expiration;
};

void token_new(char out[TOKEN_SIZE])
{
    random_hex(out, TOKEN_SIZE - 1);
}

bool token_is(const char *token, struct str given)
{
    return str_eq_secret(str_from(token), given);
}

static bool take_given(struct token_signature *s, struct str given)
{
    if (given.len != SIGNATURE_LEN)
        return false;
    for (size_t i = 0; i < given.len; i++) /* a '+' that nobody escaped was decoded to a space */
        s->given[i] = given.p[i] == ' ' ? '+' : given.p[i];
    return true;
}

/* Fetches a parameter; *any_bad stays true once it is. */
static bool get(struct str query, const char *name, struct buf *out, bool *any_bad)
{
    bool bad = false;
    bool found = http_query_get(query, name, out, &bad);
    *any_bad = *any_bad || bad;
    return found;
}

static void hash_prefix(struct token_signature *s, struct str query, enum token_op op,
                        struct buf *value, bool *bad)
{
    struct buf text;
    buf_init(&text, 2 * HTTP_HEAD_BYTES_MAX);
    get(query, "path", value, bad);
    buf_append_str(&text, buf_str(value));
    buf_append_z(&text, op == TOKEN_READ ? ":read:" : ":write:");
    get(query, "username", value, bad);
    buf_append_str(&text, buf_str(value));
    buf_append_char(&text, ':');
    s->prefix = digest_prefix_new(buf_str(&text));
    buf_done(&text);
}

enum token_parse token_signature_parse(struct str query, enum token_op op,
                                       struct token_signature **ret)
{
    enum token_parse outcome = TOKEN_NONE;
    struct buf value;
    bool bad = false;
    struct token_signature *s = xcalloc(1, sizeof *s);
    buf_init(&value, HTTP_HEAD_BYTES_MAX);

    if (get(query, "signature", &value, &bad)) {
        s->well_formed = take_given(s, buf_str(&value));
        s->has_expiration = get(query, "signature_expiration", &value, &bad);
        if (s->has_expiration &&
            str_to_i64(buf_str(&value), INT64_MIN, INT64_MAX, &s->expiration) < 0)
            bad = true;
        hash_prefix(s, query, op, &value, &bad);
        outcome = TOKEN_PARSED;
    }
    if (bad)
        outcome = TOKEN_MALFORMED;
    buf_done(&value);
    if (outcome == TOKEN_PARSED)
        *ret = s;
    else
        token_signature_free(s);
    return outcome;
}

bool token_signature_matches(const struct token_signature *s, const char *token)
{
    char rest[TOKEN_SIZE + 24], expected[3 + BASE64_SIZE(DIGEST_SIZE)];
    unsigned char digest[DIGEST_SIZE];
    int n = s->has_expiration
                ? snprintf(rest, sizeof rest, "%s:%lld", token, (long long)s->expiration)
                : snprintf(rest, sizeof rest, "%s", token);
    digest_prefix_finish(s->prefix, (struct str){rest, (size_t)n}, digest);
    memcpy(expected, "v1_", 3);
    base64_encode(digest, DIGEST_SIZE, expected + 3);
    return str_eq_secret((struct str){expected, SIGNATURE_LEN},
                         (struct str){s->given, SIGNATURE_LEN}) &&
           s->well_formed && *token;
}

bool token_signature_expired(const struct token_signature *s, int64_t now)
{
    return s->has_expiration && s->expiration < now;
}

void token_signature_free(struct token_signature *s)
{
    if (!s)
        return;
    digest_prefix_free(s->prefix);
    free(s);
}
