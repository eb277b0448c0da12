/* SPDX-License-Identifier: Apache-2.0 */
/* One output pipe of a kernel's process, read as text: never cut inside a character. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/str.h"

struct outlet;

/* Bytes may be no UTF-8 at all. */
typedef void outlet_fn(struct str text, void *arg);

/* Makes a pipe. The writing end, *ret_write, is the caller's to hand on and close. 0 or -errno. */
int outlet_open(uv_loop_t *loop, outlet_fn *text, void *arg, struct outlet **ret, int *ret_write);
/* Delivers what has been written so far: for order between this pipe and another channel. */
void outlet_drain(struct outlet *o);
/* A paused outlet reads nothing, so that its writer blocks. */
void outlet_pause(struct outlet *o, bool pause);
/* NULL is fine. No text after it. */
void outlet_close(struct outlet *o);
