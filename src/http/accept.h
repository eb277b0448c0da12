/* SPDX-License-Identifier: Apache-2.0 */
/* Which content coding a client accepts (Accept-Encoding, RFC 9110 12.5.3), of those we have. */
#pragma once

#include "http/head.h"

enum http_coding { HTTP_CODING_IDENTITY, HTTP_CODING_GZIP, HTTP_CODING_NONE };

/* Identity wherever it will do: between neighbours compression costs more than it saves, and "gzip,
 * deflate" is what every HTTP library writes by itself. gzip when the client asks for just that (it
 * names no other coding, and identity not or less), or excludes identity. NONE: answer 406. */
enum http_coding http_accept_coding(const struct http_headers *headers);
