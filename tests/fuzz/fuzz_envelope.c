/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of envelopes, as StreamInput reads them. */
#include "fuzz.h"
#include "rpc/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct str left = {(const char *)p, n}, payload;
    uint8_t flags;
    int64_t used;
    while ((used = envelope_parse(left, 1 << 20, &flags, &payload)) > 0) {
        FUZZ_CHECK((size_t)used == payload.len + ENVELOPE_HEAD && (size_t)used <= left.len);
        FUZZ_CHECK(payload.p == left.p + ENVELOPE_HEAD && flags == (uint8_t)left.p[0]);
        left = (struct str){left.p + used, left.len - (size_t)used};
    }
    return 0;
}
