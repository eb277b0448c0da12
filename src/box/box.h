/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes of this host: make, find again, freeze, measure, end. Used by the launcher only; needs
 * root, knows no HTTP, no JSON and no event loop.
 *
 * Everything slow is asynchronous: box_host_fd() is a descriptor to poll, box_host_step() does what
 * became possible and calls the events. Not thread-safe.
 *
 * A struct box belongs to the host. It is valid from box_create (or box_host_open, for what was
 * found running) until the `created` event with an error or the `ended` event has returned. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "box/disk.h"
#include "box/network.h"
#include "box/ns/net.h"
#include "box/plan.h"

struct box_host;
struct box;

struct box_host_options {
    const char *state_dir;     /* sandboxes/ and layers/ are made below it */
    const char *run_dir;       /* <id>/agent.sock is made below it */
    const char *templates_dir; /* <name>/rootfs */
    const char *cgroup_parent; /* "carrel": groups are below <cgroup_parent>-<instance> */
    unsigned instance;         /* see instance.h */
    gid_t server_gid;          /* may connect to the sockets */
    const void *image;         /* the static program, borrowed until box_host_close */
    size_t image_size;
    struct in_addr dns[3]; /* resolvers for the sandboxes; none: the host's own */
    unsigned dns_count;
    struct net_range opened[NET_OPENED]; /* ranges that the operator opens to all sandboxes */
    unsigned opened_count;
    struct net_relay relay; /* where the egress relay will listen; none: no rules on names */
    const char *ca_bundle;  /* see hostlayer.h */
    enum box_disk disk;
    uint64_t disk_image_bytes; /* size of an image, should there be one; 0: what is free */
    size_t net_pool;           /* kits (kit.h) kept ready: networks, directories; 0 is fine */
    bool keep_stderr;          /* init and agent keep our standard error: for development only */

    unsigned weaken; /* for tests, see weaken.h: walls that are left out */

    /* For tests: change a plan before it is carried out; fail after this step, as box_plan_print
     * names it ("launcher: cgroups"). */
    void (*tamper)(struct box_plan *plan);
    const char *fail_step;
};

struct box_events {
    void *arg;
    /* Once for each box_create that returned 0. err is NULL when the sandbox runs and accepts
     * connections; otherwise it names the step and nothing of it runs any more. */
    void (*created)(void *arg, struct box *box, const struct err *err);
    /* Once for each sandbox that ran: its init is dead, and so is everything in it. asked tells
     * whether box_destroy was called. Its files are removed after this. */
    void (*ended)(void *arg, struct box *box, bool asked);
    /* The files and groups of a dead sandbox are gone, and its id is free. With err something is
     * left of it, and is tried again at the next start. */
    void (*removed)(void *arg, const char *id, const struct err *err);
    /* Once for each box_park that returned 0, unless it was destroyed meanwhile: nothing of it is
     * there but its files, which are safe on disk. `ended` came before. */
    void (*parked)(void *arg, const char *id, const struct err *err);
    /* Once for each box_snapshot that returned 0. owner is that call's. */
    void (*snapshotted)(void *arg, const char *id, void *owner, const struct err *err);
};

/* Opens the host: adopts the sandboxes that run, removes what is half made or dead. Everything
 * pointed to by options is borrowed until box_host_close. */
int box_host_open(const struct box_host_options *options, const struct box_events *events,
                  struct box_host **ret, struct err *err);
/* Frees the handle; NULL is fine. Running sandboxes live on; those being made die, without an
 * event. Waits for removals under way. */
void box_host_close(struct box_host *host);

/* What keeps sandboxes within their disk limits. If nothing does, *ret_why says why. */
const char *box_host_disk(const struct box_host *host, bool *ret_binds, const char **ret_why);

int box_host_fd(const struct box_host *host);
void box_host_step(struct box_host *host);
/* Sandboxes being made, and those whose files are being removed. */
size_t box_host_starting(const struct box_host *host);
size_t box_host_removing(const struct box_host *host);

/* The sandbox of that id that is being made, runs or is being ended; NULL if there is none. */
struct box *box_host_find(struct box_host *host, const char *id);
/* Calls each for every sandbox that runs, or for every one that is parked or being parked. */
void box_host_each_parked(struct box_host *host, void (*each)(void *arg, struct box *box),
                          void *arg);
void box_host_each(struct box_host *host, void (*each)(void *arg, struct box *box), void *arg);

/* Whether an id is taken only by a dead sandbox that is being removed, or parked: a `removed` or
 * `parked` event follows. */
bool box_host_is_removing(struct box_host *host, const char *id);

/* The plan that box_create would carry out for this spec now. */
int box_host_plan(struct box_host *host, const struct box_spec *spec, struct box_plan *ret,
                  struct err *err);
/* Begins. owner is kept for box_owner. An error here leaves nothing behind (files go away in the
 * background) and no event follows. ERR_EXISTS for an id in use, also by one whose files are still
 * being removed. */
int box_create(struct box_host *host, const struct box_spec *spec, const char *config,
               size_t config_len, void *owner, struct box **ret, struct err *err);
/* Ends it, whatever it is doing; an event follows. Idempotent. */
void box_destroy(struct box_host *host, struct box *box);
/* Gives a running sandbox the agent of this program if its own comes from another build. Its
 * streams are cut, its processes run on (agent/init.c). 1 when it did, 0 when there was no need. */
int box_renew_agent(struct box_host *host, struct box *box, struct err *err);
int box_freeze(struct box_host *host, struct box *box, bool freeze, struct err *err);

/* Ends its processes and keeps its files: box_create with spec->again starts it from them. A frozen one
 * may be parked too. It stays over the death of the launcher and of the host. */
int box_park(struct box_host *host, struct box *box, struct err *err);
/* Whether it has been told to park; parked ones are found, but do not run. */
bool box_parking(const struct box *box);
bool box_parked(const struct box *box);

/* Makes a snapshot of what its files are now: the sandbox stands still while they are copied. Its id
 * is one like those of sandboxes. */
int box_snapshot(struct box_host *host, struct box *box, const char *id, void *owner,
                 struct err *err);
/* Deletes a snapshot: it is not there any more for new sandboxes, and goes for good when no sandbox
 * and no other snapshot stands on it. An unknown id is no error. */
int box_host_drop(struct box_host *host, const char *id, struct err *err);
/* Calls each for every snapshot that has not been dropped. */
void box_host_each_snapshot(struct box_host *host, void (*each)(void *arg, const char *id),
                            void *arg);

/* What was found about the host's network; valid until the next call on host. */
const struct net_facts *box_host_network(const struct box_host *host);
/* Replaces what a running sandbox may reach; NULL restricts nothing. Kept over the death of the
 * launcher. */
int box_set_network(struct box_host *host, struct box *box, const struct box_network *network,
                    struct err *err);
/* What it may reach, or NULL; and the address it has when it has a link. */
const struct box_network *box_network(const struct box *box);
struct in_addr box_address(const struct box *box);

struct box_usage {
    uint64_t cpu_ns;
    uint64_t memory_bytes;
    uint64_t cache_bytes;
    uint64_t disk_bytes; /* as of the last measurement, which each call may start anew; with the
                            snapshots that it stands on */
    uint32_t pids;
    uint32_t oom_kills;
};
int box_usage(struct box_host *host, struct box *box, struct box_usage *ret, struct err *err);

/* In the `ended` event: why we ended it without being asked; "" if it ended by itself. */
const char *box_end_reason(const struct box *box);

const char *box_id(const struct box *box);
const char *box_template(const struct box *box);
pid_t box_pid(const struct box *box);
bool box_running(const struct box *box);
bool box_frozen(const struct box *box);
void *box_owner(const struct box *box);
