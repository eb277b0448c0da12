/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes of a TLS connection out of a sandbox. Cut anywhere, they are not complete yet, or
 * already what they are: a name that was found stays, and what was refused does not get one. */
#include <string.h>

#include "egress/client_hello.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    char name[HOSTNAME_SIZE], part[HOSTNAME_SIZE];
    enum hello whole = hello_read(p, n, name);
    if (whole == HELLO_NAMED)
        FUZZ_CHECK(hostname_valid(str_from(name)));
    enum hello half = hello_read(p, n / 2, part);
    if (half == HELLO_NAMED)
        FUZZ_CHECK(whole == HELLO_NAMED && strcmp(name, part) == 0);
    else if (half != HELLO_MORE)
        FUZZ_CHECK(whole != HELLO_NAMED);
    return 0;
}
