/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in protobuf's encoding; the first byte says of which method. What can be decoded can be
 * encoded again, and is then the same message. */
#include "fuzz.h"
#include "rpc/proto-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    size_t methods = 0;
    struct err err;
    struct buf out;
    json_t *first, *second;
    while (proto_methods[methods].path)
        methods++;
    if (n == 0)
        return 0;
    const struct proto_message *message = proto_methods[p[0] % methods].request;
    if (proto_decode(message, (struct str){(const char *)p + 1, n - 1}, &first, &err) < 0)
        return 0;
    buf_init(&out, 64 << 20);
    if (proto_encode(message, first, &out) == 0) {
        FUZZ_CHECK(proto_decode(message, buf_str(&out), &second, &err) == 0);
        FUZZ_CHECK(json_equal(first, second));
        json_decref(second);
    }
    buf_done(&out);
    json_decref(first);
    return 0;
}
