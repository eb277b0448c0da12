/* SPDX-License-Identifier: Apache-2.0 */
/* The child's half: what the zygote's clone does to become a sandbox's init. Static and small: no
 * libseccomp, no allocation. */
#pragma once

#include <linux/filter.h>

#include "box/plan.h"

/* Carries the plan out. Called in a fresh clone of the zygote with new mount, pid, ipc and uts
 * namespaces, as host root. handles[] holds the descriptors, -1 for those that did not come.
 *
 * On success the caller is PID 1 and root of the sandbox and nothing else, all descriptors but
 * LISTEN, MEMORY and CPU are closed, all signals are blocked, and the launcher has been told. On
 * failure the launcher has been told the step; the caller must _exit at once. 0 or -errno. */
int inside_enter(const struct box_inside *in, const int handles[BOX_HANDLES],
                 const struct sock_fprog *filter, bool keep_stderr);
