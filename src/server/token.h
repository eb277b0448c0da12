/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets of one sandbox: its access tokens, and the signatures of /files URLs that are made with
 * them (protocol.md 3.6). Knows neither sandboxes nor connections. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum { TOKEN_SIZE = 65 }; /* 64 hex digits and a NUL */

void token_new(char out[TOKEN_SIZE]);
/* Whether the text given is the token; equal time for all texts of the token's length. */
bool token_is(const char *token, struct str given);

enum token_op { TOKEN_READ, TOKEN_WRITE };

/* The signature of one request, ready to be tried against tokens. */
struct token_signature;

enum token_parse { TOKEN_PARSED, TOKEN_NONE, TOKEN_MALFORMED };
/* Reads path, username, signature and signature_expiration from a query. TOKEN_NONE: no signature
 * parameter; TOKEN_MALFORMED: a bad escape, or an expiration that is no integer. Only TOKEN_PARSED
 * sets *ret. */
enum token_parse token_signature_parse(struct str query, enum token_op op,
                                       struct token_signature **ret);
bool token_signature_matches(const struct token_signature *signature, const char *token);
/* now in seconds since 1970. A signature without expiration never expires. */
bool token_signature_expired(const struct token_signature *signature, int64_t now);
void token_signature_free(struct token_signature *signature);
