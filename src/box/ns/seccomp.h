/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter of a sandbox: an allow-list, as a BPF program that is the same for all.
 *
 * Everything not on the list does not exist (ENOSYS, so that libraries fall back); what programs
 * know and would understand as forbidden gives EPERM; a few calls are looked into. Calls of the
 * other ABIs of the machine (i386 and x32; 32-bit ARM) do not exist at all. */
#pragma once

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct seccomp_filter {
    struct sock_filter *code; /* owned */
    size_t count;
};

/* Compiles the filter for this machine's own ABI. */
int seccomp_compile(struct seccomp_filter *ret, struct err *err);
/* Makes it one that refuses nothing, for tests (box/weaken.h). */
void seccomp_allow_all(struct seccomp_filter *filter);
void seccomp_done(struct seccomp_filter *filter);

/* What the policy says about a call, before its arguments. For tests and listings. */
enum seccomp_verdict { SECCOMP_ABSENT, SECCOMP_ALLOWED, SECCOMP_REFUSED, SECCOMP_CHECKED };
/* nr is a system call number of this machine. */
enum seccomp_verdict seccomp_verdict(int nr);
