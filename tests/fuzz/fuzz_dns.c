/* SPDX-License-Identifier: Apache-2.0 */
/* Questions of sandboxes, and answers of resolvers. */
#include <string.h>

#include "egress/dns.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct dns_question question;
    struct dns_answer answer = {.count = DNS_ADDRESSES_MAX, .ttl = 1}, again;
    uint8_t out[DNS_MESSAGE_MAX];
    if (dns_read_query(p, n, &question) == 0) {
        size_t len = dns_write_answer(&question, &answer, out);
        FUZZ_CHECK(len >= 12 && len <= sizeof out && memcmp(out, p, 2) == 0);
        if (*question.name) {
            FUZZ_CHECK(hostname_valid(str_from(question.name)));
            len = dns_write_query(question.id, question.name, out);
            FUZZ_CHECK(dns_read_query(out, len, &question) == 0);
        }
    }
    if (dns_read_answer(p, n, 0x1234, "a.example", &again) == 0)
        FUZZ_CHECK(again.count <= DNS_ADDRESSES_MAX && again.ttl <= INT32_MAX);
    return 0;
}
