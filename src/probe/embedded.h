/* SPDX-License-Identifier: Apache-2.0 */
/* The static program carrel-probe as part of this one, for `carrel selftest` to send into sandboxes.
 * Empty in builds with sanitizers, which cannot be static. */
#pragma once

extern const unsigned char embedded_probe[];
extern const unsigned char embedded_probe_end[];
