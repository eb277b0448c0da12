/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages. */
#include "egress/dns.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/str.h"

enum {
    HEAD = 12,
    FLAG_RESPONSE = 0x8000,
    FLAG_RECURSION_DESIRED = 0x0100,
    FLAG_RECURSION_AVAILABLE = 0x0080,
    OPCODE_MASK = 0x7800,
    CODE_MASK = 0x000f,
    CLASS_IN = 1,
    TYPE_OPT = 41,
    POINTERS_MAX = 16,
    NAME_WIRE_MAX = 255,
    RECORDS_MAX = 256,
};

struct reader {
    const uint8_t *message;
    size_t n, at;
};

static uint16_t number(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put_number(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

/* A name at r->at, which is moved behind it. text is "" for what is not representable; NULL: only
 * skip it. Pointers must lead back, so that they end. */
static int take_name(struct reader *r, char text[HOSTNAME_SIZE])
{
    size_t at = r->at, behind = 0, len = 0, wire = 0, limit = r->at;
    char name[NAME_WIRE_MAX + 1];
    for (int pointers = 0;;) {
        if (at >= r->n)
            return -EINVAL;
        uint8_t label = r->message[at];
        if ((label & 0xc0) == 0xc0) {
            if (at + 1 >= r->n || ++pointers > POINTERS_MAX)
                return -EINVAL;
            if (behind == 0)
                behind = at + 2;
            at = (size_t)(label & 0x3f) << 8 | r->message[at + 1];
            if (at >= limit)
                return -EINVAL;
            limit = at;
            continue;
        }
        wire += label + 1U;
        if ((label & 0xc0) || wire > NAME_WIRE_MAX || at + 1 + label > r->n)
            return -EINVAL;
        at += 1;
        if (label == 0)
            break;
        if (len > 0)
            name[len++] = '.';
        memcpy(name + len, r->message + at, label);
        len += label;
        at += label;
    }
    r->at = behind ? behind : at;
    if (text && !hostname_normalize((struct str){name, len}, text))
        text[0] = '\0';
    return 0;
}

/* ---- queries ---- */

int dns_read_query(const void *message, size_t n, struct dns_question *ret)
{
    struct reader r = {message, n, HEAD};
    struct dns_question q = {0};
    if (n < HEAD)
        return -EINVAL;
    q.id = number(r.message);
    q.flags = number(r.message + 2);
    if (q.flags & FLAG_RESPONSE)
        return -EINVAL;
    if ((q.flags & OPCODE_MASK) == 0 && number(r.message + 4) == 1) {
        if (take_name(&r, q.name) < 0 || r.n - r.at < 4 || r.at + 4 - HEAD > sizeof q.wire)
            return -EINVAL;
        q.type = number(r.message + r.at);
        q.class = number(r.message + r.at + 2);
        q.wire_len = r.at + 4 - HEAD;
        memcpy(q.wire, r.message + HEAD, q.wire_len);
    }
    *ret = q;
    return 0;
}

size_t dns_write_answer(const struct dns_question *question, const struct dns_answer *answer,
                        uint8_t out[DNS_MESSAGE_MAX])
{
    bool about = question->wire_len > 0 && question->type == DNS_TYPE_A &&
                 question->class == CLASS_IN && answer->code == DNS_NO_ERROR;
    unsigned count = about ? answer->count : 0;
    memset(out, 0, HEAD);
    put_number(out, question->id);
    put_number(out + 2, FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE |
                            (question->flags & (OPCODE_MASK | FLAG_RECURSION_DESIRED)) |
                            (answer->code & CODE_MASK));
    put_number(out + 4, question->wire_len > 0);
    put_number(out + 6, count);
    memcpy(out + HEAD, question->wire, question->wire_len);
    size_t at = HEAD + question->wire_len;
    for (unsigned i = 0; i < count; i++) {
        put_number(out + at, 0xc000 | HEAD); /* the name of the question */
        put_number(out + at + 2, DNS_TYPE_A);
        put_number(out + at + 4, CLASS_IN);
        put_number(out + at + 6, answer->ttl >> 16);
        put_number(out + at + 8, answer->ttl & 0xffff);
        put_number(out + at + 10, 4);
        memcpy(out + at + 12, &answer->addresses[i], 4);
        at += 16;
    }
    return at;
}

/* ---- asking ---- */

size_t dns_write_query(uint16_t id, const char *name, uint8_t out[DNS_MESSAGE_MAX])
{
    struct str rest = str_from(name), label;
    memset(out, 0, HEAD);
    put_number(out, id);
    put_number(out + 2, FLAG_RECURSION_DESIRED);
    put_number(out + 4, 1);
    put_number(out + 10, 1);
    size_t at = HEAD;
    while (str_split(&rest, '.', &label)) {
        out[at++] = (uint8_t)label.len;
        memcpy(out + at, label.p, label.len);
        at += label.len;
    }
    out[at++] = 0;
    put_number(out + at, DNS_TYPE_A);
    put_number(out + at + 2, CLASS_IN);
    at += 4;
    /* EDNS(0), RFC 6891: how much we take in one packet. */
    memset(out + at, 0, 11);
    put_number(out + at + 1, TYPE_OPT);
    put_number(out + at + 3, DNS_MESSAGE_MAX);
    return at + 11;
}

/* One record; what is no address is skipped. */
static int take_record(struct reader *r, struct dns_answer *answer)
{
    if (take_name(r, NULL) < 0 || r->n - r->at < 10)
        return -EINVAL;
    const uint8_t *head = r->message + r->at;
    uint32_t ttl = (uint32_t)number(head + 4) << 16 | number(head + 6);
    size_t len = number(head + 8);
    r->at += 10;
    if (r->n - r->at < len)
        return -EINVAL;
    if (ttl > INT32_MAX)
        ttl = 0; /* RFC 2181 8 */
    if (ttl < answer->ttl)
        answer->ttl = ttl;
    if (number(head) == DNS_TYPE_A && number(head + 2) == CLASS_IN) {
        if (len != sizeof(struct in_addr))
            return -EINVAL;
        if (answer->count < DNS_ADDRESSES_MAX)
            memcpy(&answer->addresses[answer->count++], r->message + r->at, len);
    }
    r->at += len;
    return 0;
}

int dns_read_answer(const void *message, size_t n, uint16_t id, const char *name,
                    struct dns_answer *ret)
{
    struct reader r = {message, n, HEAD};
    struct dns_answer answer = {.ttl = INT32_MAX};
    char asked[HOSTNAME_SIZE];
    if (n < HEAD || number(r.message) != id || !(number(r.message + 2) & FLAG_RESPONSE) ||
        number(r.message + 4) != 1)
        return -EINVAL;
    if (take_name(&r, asked) < 0 || strcmp(asked, name) != 0 || r.n - r.at < 4 ||
        number(r.message + r.at) != DNS_TYPE_A || number(r.message + r.at + 2) != CLASS_IN)
        return -EINVAL;
    r.at += 4;
    answer.code = number(r.message + 2) & CODE_MASK;
    unsigned records = number(r.message + 6);
    if (records > RECORDS_MAX)
        return -EINVAL;
    for (unsigned i = 0; i < records; i++)
        if (take_record(&r, &answer) < 0)
            return -EINVAL;
    *ret = answer;
    return 0;
}
