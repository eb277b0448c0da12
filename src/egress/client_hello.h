/* SPDX-License-Identifier: Apache-2.0 */
/* The name that a TLS client asks for, from the first bytes it sends (RFC 8446 4.1.2, RFC 6066 3).
 * Pure: bytes in, verdict out. */
#pragma once

#include <stddef.h>

#include "base/hostname.h"

enum {
    HELLO_BYTES_MAX = 16 * 1024, /* of the message: real ones are below 4 KiB */
    HELLO_RECORDS_MAX = 32,      /* that it may be cut into */
    HELLO_STREAM_MAX = HELLO_BYTES_MAX + HELLO_RECORDS_MAX * 5, /* all that needs to be read */
};

enum hello {
    HELLO_MORE,      /* well so far, not complete */
    HELLO_NAMED,     /* complete, and name was written */
    HELLO_NAMELESS,  /* complete, without a name or with an address for one */
    HELLO_ENCRYPTED, /* complete, and the true name may be another one, which nobody can see */
    HELLO_MALFORMED, /* not TLS, or against its rules */
    HELLO_TOO_LARGE,
};

/* Looks at all n bytes received so far. name is normalized, and written only with HELLO_NAMED. */
enum hello hello_read(const void *bytes, size_t n, char name[HOSTNAME_SIZE]);
