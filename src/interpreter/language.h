/* SPDX-License-Identifier: Apache-2.0 */
/* The languages, by name, and how their kernels are started. */
#pragma once

#include "interpreter/kernel.h"

struct nursery;
struct language;

/* Spaces around it and upper case do not matter; js and ts are short names. NULL: unknown. */
const struct language *language_find(struct str text);
const char *language_name(const struct language *language);
struct kernel *language_start(const struct language *language, const struct kernel_options *options,
                              struct nursery *nursery, struct err *err);
