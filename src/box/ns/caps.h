/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities of a sandbox, all of them over its own user namespace only: mounts, network and
 * pids belong to the host's, so none of these reaches them. */
#pragma once

#include <linux/capability.h>
#include <stdint.h>

#define CAPS_BIT(cap) (UINT64_C(1) << (cap))

/* What sudo, apt, dpkg, pip, npm, git, gcc and strace of another user's process need, as root.
 * Not here, among others: SYS_ADMIN, NET_ADMIN, NET_RAW, SYS_MODULE, SYS_RESOURCE, MKNOD, BPF,
 * PERFMON, SYSLOG, CHECKPOINT_RESTORE: their objects are the host's or they open kernel code that
 * nothing in here needs. */
#define CAPS_BOUNDING                                                                          \
    (CAPS_BIT(CAP_CHOWN) | CAPS_BIT(CAP_DAC_OVERRIDE) | CAPS_BIT(CAP_FOWNER) |                 \
     CAPS_BIT(CAP_FSETID) | CAPS_BIT(CAP_KILL) | CAPS_BIT(CAP_SETGID) | CAPS_BIT(CAP_SETUID) | \
     CAPS_BIT(CAP_SETPCAP) | CAPS_BIT(CAP_NET_BIND_SERVICE) | CAPS_BIT(CAP_SYS_CHROOT) |       \
     CAPS_BIT(CAP_SYS_PTRACE) | CAPS_BIT(CAP_SETFCAP) | CAPS_BIT(CAP_AUDIT_WRITE))

/* Both are steps of the child in the sandbox's user namespace, as its root. */

/* Takes all but `keep` out of the bounding set; needs SETPCAP. 0 or -errno. */
int caps_bound(uint64_t keep);
/* Permitted and effective become `keep`, inheritable and ambient empty. 0 or -errno. */
int caps_set(uint64_t keep);
