/* SPDX-License-Identifier: Apache-2.0 */
/* A world of the selftest's own to try the network policy in: this process moves to a network
 * namespace that plays the host, linked to one that plays everything else and owns the addresses
 * that must be closed. So an answer means open and silence means closed, and no packet of an attack
 * ever leaves the machine, however weak the policy is. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum { SELFTEST_PORT = 8099 };

struct selftest_scene {
    pid_t world, host; /* who listens in the two namespaces */
    int world_out;     /* what the world's listener prints */
    int abstract_fd;   /* a listening abstract socket */
    char abstract_name[64];
};

/* Addresses outside that must not answer, NULL-terminated, with their port, and one that must. */
extern const char *const selftest_scene_closed[];
extern const char *const selftest_scene_reachable;
/* A resolver there that no server names. */
extern const char *const selftest_scene_resolver;

/* Moves the calling process, which must have one thread, for good; its children follow. probe_fd is
 * the probe program. */
int selftest_scene_open(int probe_fd, struct selftest_scene *ret, struct err *err);
/* What the world has seen of packets with a false source: their sources, "" if none came. */
void selftest_scene_spoofed(struct selftest_scene *scene, char *out, size_t size);
/* Ends the listeners. The namespaces go with the processes in them. */
void selftest_scene_close(struct selftest_scene *scene);
