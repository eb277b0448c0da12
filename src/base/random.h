/* SPDX-License-Identifier: Apache-2.0 */
/* Unpredictable bytes from the kernel, and identifiers made of them. */
#pragma once

#include <stddef.h>

/* Fills p; never fails (aborts if the kernel has no randomness). */
void random_bytes(void *p, size_t n);
/* Writes `digits` lower-case hex digits and a NUL. */
void random_hex(char *out, size_t digits);
/* Writes `count` characters of [a-z0-9] and a NUL. */
void random_id(char *out, size_t count);
