/* SPDX-License-Identifier: Apache-2.0 */
/* Walls taken down on purpose, one at a time: `carrel selftest` must notice each of them, or it
 * proves nothing. For tests only; what a server was told of these is in its log, loudly. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct box_plan;

enum box_weaken {
    BOX_WEAKEN_SECCOMP = 1 << 0,   /* a filter that lets everything pass */
    BOX_WEAKEN_CAPS = 1 << 1,      /* all capabilities over its own user namespace */
    BOX_WEAKEN_USERNS = 1 << 2,    /* root inside is root outside */
    BOX_WEAKEN_NETPOLICY = 1 << 3, /* everything that the host reaches can be reached */
    BOX_WEAKEN_PROC_MASK = 1 << 4, /* nothing in /proc is masked or read-only */
    BOX_WEAKEN_PIDS = 1 << 5,      /* no such limit */
    BOX_WEAKEN_MEMORY = 1 << 6,
    BOX_WEAKEN_CPU = 1 << 7,
    BOX_WEAKEN_DISK = 1 << 8,
};

/* Names separated by commas, as above in lower case with dashes. 0 or -EINVAL. */
int box_weaken_parse(const char *names, unsigned *ret, struct err *err);
/* Changes a plan before it is carried out. Opens the packet filter of the plan's instance too. 0 or
 * negative with err. */
int box_weaken_plan(unsigned weaken, struct box_plan *plan, struct err *err);
