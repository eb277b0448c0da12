/* SPDX-License-Identifier: Apache-2.0 */
/* The static program that becomes zygote, init and agent, as part of this one. Empty in builds with
 * sanitizers, which cannot be static. */
#pragma once

extern const unsigned char embedded_init[];
extern const unsigned char embedded_init_end[];
