/* SPDX-License-Identifier: Apache-2.0 */
/* The privileged process: takes messages (message.h) from the server, makes one box call each. It
 * speaks to no network, parses nothing but the fixed structs, and trusts neither side. Its death
 * ends no sandbox; the next launcher on the same state directory finds them again. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "box/disk.h"
#include "box/ns/net.h"

struct box_plan;

struct launcher_options {
    const char *state_dir;     /* made if it is not there; root's alone, but for <state>/server */
    const char *run_dir;       /* sockets: <run>/<id>/agent.sock */
    const char *templates_dir; /* <name>/rootfs */
    const char *cgroup_parent; /* NULL: "carrel" */
    int instance;              /* 0..7, or -1: claim the number that belongs to state_dir */
    int listen_fd;             /* listening AF_UNIX SEQPACKET socket for the server; stays open */
    int ready_fd;              /* one byte is written when the launcher serves; -1: nobody waits */
    uid_t server_uid;          /* may connect, besides root */
    gid_t server_gid;          /* group of the sandboxes' sockets */
    const char *ca_bundle;     /* see box/ns/hostlayer.h; NULL: the host's */
    struct in_addr dns[3];     /* resolvers for sandboxes; none: the host's own */
    unsigned dns_count;
    struct net_range opened[NET_OPENED]; /* ranges opened to all sandboxes that are closed else */
    unsigned opened_count;
    const char *egress_path; /* where the egress relay is reached; NULL: there is none */
    uid_t egress_uid;
    enum box_disk disk;        /* what is to bind disk limits */
    uint64_t disk_image_bytes; /* 0: what is free */
    size_t net_pool;           /* networks and directories kept ready for the next sandboxes */
    const void *image;         /* the static program; NULL: the embedded one */
    size_t image_size;
    bool keep_stderr; /* init and agent write to our standard error: for development only */

    /* For tests, see box/box.h. */
    unsigned weaken;
    void (*tamper)(struct box_plan *plan);
    const char *fail_step;
};

/* Serves until SIGTERM or SIGINT. The result is the exit status; what went wrong is in the log. */
int launcher_main(const struct launcher_options *options);
