/* SPDX-License-Identifier: Apache-2.0 */
/* From the query of a request to a path: decoding, and what `~` and relative paths become. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/resolve.h"
#include "agent/sha256.h"
#include "base/mem.h"
#include "http/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void resolve(struct str path)
{
    char name[] = "user", home[] = "/home/user";
    struct passwd_user user = {.name = name, .home = home};
    struct err err = {0};
    _cleanup_free_ char *resolved = NULL;
    if (resolve_path(&user, "/work", path, &resolved, &err) < 0)
        assert(!resolved && err.code == ERR_INVALID);
    else
        assert(resolved[0] == '/' && strlen(resolved) <= path.len + sizeof home);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"path", "username", "mode", "owner", "signature"};
    struct str query = {(const char *)data, size};
    unsigned char digest[SHA256_SIZE];
    struct buf value;
    buf_init(&value, HTTP_HEAD_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        bool is_bad = false;
        bool is_there = http_query_get(query, names[i], &value, &is_bad);
        assert(is_there == http_query_has(query, names[i]));
        assert(buf_len(&value) <= size);
        if (is_there && !is_bad)
            assert(!memchr(buf_ptr(&value) ? buf_ptr(&value) : "", '\0', buf_len(&value)));
        if (is_there && !is_bad)
            resolve(buf_str(&value));
    }
    resolve(query);
    sha256_wanted(query);
    if (sha256_field_parse(query, digest) > 0) {
        char text[SHA256_FIELD_SIZE];
        unsigned char back[SHA256_SIZE];
        sha256_field(digest, text);
        assert(sha256_field_parse(str_from(text), back) == 1);
        assert(memcmp(digest, back, sizeof back) == 0);
    }
    buf_done(&value);
    return 0;
}
