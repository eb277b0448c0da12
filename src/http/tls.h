/* SPDX-License-Identifier: Apache-2.0 */
/* TLS on the server's side, as a stream over a stream. TLS 1.2 and 1.3; HTTP/2 and HTTP/1.1 are
 * offered by ALPN. All use of OpenSSL in this module is here. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "http/stream.h"

struct tls_context;

/* Reads a certificate with its chain, and its key (both PEM, the key without a passphrase). 0, or a
 * negative errno with err naming the file. */
int tls_context_open(const char *certificate, const char *key, struct tls_context **ret,
                     struct err *err);
/* Streams that were made with it go on. NULL is fine. */
void tls_context_close(struct tls_context *context);
/* Reads the files again if they have changed since; looks at most once a second. What cannot be used
 * is logged, and the certificate before stays. */
void tls_context_refresh(struct tls_context *context);

/* Takes over `below` (a stream with a socket), also on failure. The handshake is still to be made:
 * call tls_handshake at once and whenever the stream is ready, until it is not -EAGAIN. 0 or
 * -ENOMEM. */
int tls_stream_open(struct tls_context *context, struct stream *below, struct stream **ret);
/* 0 when done, -EAGAIN, or -EPROTO. It watches what it waits for by itself. */
int tls_handshake(struct stream *s);
/* After the handshake: whether the client chose HTTP/2. */
bool tls_is_http2(const struct stream *s);
