/* SPDX-License-Identifier: Apache-2.0 */
/* Borrowed text (pointer and length) and strict number parsing.
 *
 * A struct str never owns; it is valid as long as what it points into. The bytes are not
 * NUL-terminated and may contain anything. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* For printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).len, (s).p

static inline struct str str_from(const char *s)
{
    return (struct str){s, s ? strlen(s) : 0};
}

bool str_eq(struct str a, struct str b);
bool str_eqz(struct str a, const char *b);
/* ASCII case ignored. */
bool str_ieq(struct str a, struct str b);
bool str_ieqz(struct str a, const char *b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* ASCII spaces and tabs at both ends removed. */
struct str str_trim(struct str s);
/* Splits at the first `at`: *ret_head is what precedes it, *rest what follows. Returns false when
 * rest was exhausted before the call. Without a separator the head is all of it. */
bool str_split(struct str *rest, char at, struct str *ret_head);
/* Position of c, or s.len. */
size_t str_find(struct str s, char c);
/* Equal time for equal lengths, whatever the content: for tokens and signatures. */
bool str_eq_secret(struct str a, struct str b);
/* Whole text is decimal digits (with a leading '-' for i64) within range. 0 or -EINVAL/-ERANGE. */
int str_to_u64(struct str s, uint64_t max, uint64_t *ret);
int str_to_i64(struct str s, int64_t min, int64_t max, int64_t *ret);
/* Percent-decoding into out (at least s.len bytes). '+' becomes a space if plus_is_space. Returns
 * the length, or -EINVAL on a bad escape. */
int64_t str_percent_decode(struct str s, bool plus_is_space, char *out);
