/* SPDX-License-Identifier: Apache-2.0 */
/* The Connect protocol's streaming envelope. */
#include "rpc/envelope.h"

#include <errno.h>

int64_t envelope_parse(struct str bytes, size_t max, uint8_t *ret_flags, struct str *ret_payload)
{
    if (bytes.len < ENVELOPE_HEAD)
        return 0;
    const unsigned char *p = (const unsigned char *)bytes.p;
    size_t length = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | (size_t)p[4];
    if (length > max)
        return -EMSGSIZE;
    if (bytes.len - ENVELOPE_HEAD < length)
        return 0;
    *ret_flags = p[0];
    *ret_payload = (struct str){bytes.p + ENVELOPE_HEAD, length};
    return (int64_t)(ENVELOPE_HEAD + length);
}

int envelope_append(struct buf *out, uint8_t flags, struct str payload)
{
    if (payload.len > UINT32_MAX)
        return -ENOBUFS;
    char *room = buf_reserve(out, ENVELOPE_HEAD + payload.len);
    if (!room)
        return -ENOBUFS;
    envelope_head(flags, (uint32_t)payload.len, (unsigned char *)room);
    if (payload.len)
        memcpy(room + ENVELOPE_HEAD, payload.p, payload.len);
    buf_added(out, ENVELOPE_HEAD + payload.len);
    return 0;
}

void envelope_head(uint8_t flags, uint32_t length, unsigned char out[ENVELOPE_HEAD])
{
    out[0] = flags;
    out[1] = (unsigned char)(length >> 24);
    out[2] = (unsigned char)(length >> 16);
    out[3] = (unsigned char)(length >> 8);
    out[4] = (unsigned char)length;
}
