/* SPDX-License-Identifier: Apache-2.0 */
/* Kits: what a sandbox needs of the host and what does not depend on which sandbox it will be, made
 * in advance: directories, listening socket, user namespace of the slot, network, control groups.
 * Making that takes longer than all the rest of a creation, and its time depends on what else the
 * kernel is doing.
 *
 * A kit is used once or thrown away. It is in no sandbox's directory, so that a launcher which finds
 * one at its start knows it for what it is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "box/ns/cgroup.h"
#include "box/worker.h"

struct box_host;
struct making;

struct kit {
    struct worker_job job;
    struct box_host *host;
    struct kit *next;      /* in host->kits or host->coming */
    struct making *making; /* who waits for it; NULL: nobody yet */
    unsigned slot;
    bool internet;
    int sock;  /* listening on agent.sock in its run directory */
    int netns; /* network namespace */
    struct box_limits limits;
    struct cgroup_fds groups;
    char name[24];       /* of its directories, below the host's three ready directories */
    char group_name[32]; /* of its groups */
    struct err err;      /* code ERR_OK: it is whole */
};

/* Makes the places for kits, and throws away what a launcher that died left in them. */
int kits_open(struct box_host *host, struct err *err);
/* Waits for the one being made. */
void kits_close(struct box_host *host);

/* Gets a kit for a creation. 1 with *ret, which is the caller's: there was one. 0: making_continue
 * is called when it is made. Negative: there is no slot. */
int kit_get(struct box_host *host, struct making *making, bool internet, struct kit **ret,
            struct err *err);
/* Gives back what of it was not used, and frees it; NULL is fine. with_slot: the slot too. */
void kit_discard(struct kit *kit, bool with_slot);
/* Has more made in the background, up to the number that is to be ready: now, or soon. */
void kits_refill(struct box_host *host);
void kits_timer(struct box_host *host);

/* Moves its directories to where the sandbox of that id has them. Both descriptors stay the kit's;
 * *ret_dir is the record's directory, *ret_files the files', the caller's. */
int kit_place_directory(struct kit *kit, const char *id, int *ret_dir, struct err *err);
int kit_place_files(struct kit *kit, const char *id, int *ret_files, struct err *err);
int kit_place_socket(struct kit *kit, const char *id, struct err *err);
/* Gives its groups the id and *ret, which is the caller's; made anew if the limits are others. */
int kit_place_groups(struct kit *kit, const char *id, const struct box_limits *limits,
                     struct cgroup_fds *ret, struct err *err);
