/* SPDX-License-Identifier: Apache-2.0 */
/* Drives a launcher as the server would: starts it in a process of its own on fresh directories,
 * sends messages, talks to agents. Failures of the harness itself end the test program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "launcher/launcher.h"
#include "launcher/message.h"

struct harness {
    char root[64]; /* temporary directory: state, run, templates */
    char state[80], run[80], templates[80], cgroup_parent[32];
    struct launcher_options options;
    const char *image_path;
    pid_t launcher;
    int listen_fd;
    int server; /* connection to the launcher */
    uint64_t serial;
};

/* Makes the directories and a template "tiny" (directories only). Needs root. */
void harness_open(struct harness *h, const char *image_path);
/* Starts a launcher and connects; one that ends before it serves gives false. */
bool harness_start(struct harness *h);
int harness_connect(const struct harness *h);
/* Closes the connection and makes a new one. */
void harness_reconnect(struct harness *h);
void harness_kill(struct harness *h); /* SIGKILL, reaped */
void harness_stop(struct harness *h); /* SIGTERM, reaped; must exit with 0 */
/* Stops, checks that nothing is left, removes the directories. */
void harness_close(struct harness *h);

/* Sends a request; returns its serial. */
uint64_t harness_send(struct harness *h, enum launcher_op op, const char *id,
                      const char *template_name, const struct launcher_limits *limits,
                      const char *config);
/* The same with a route to the internet. */
uint64_t harness_send_online(struct harness *h, enum launcher_op op, const char *id,
                             const char *template_name, const struct launcher_limits *limits,
                             const char *config);
/* SNAPSHOT, and CREATE of "tiny" on a snapshot or, with `again`, of a parked one. */
uint64_t harness_send_based(struct harness *h, enum launcher_op op, const char *id,
                            const char *base, bool again);
/* The next message of any kind; false if none comes within ten seconds or the launcher is gone. */
bool harness_next(struct harness *h, struct launcher_reply *ret);
/* The reply to a serial; others in between are dropped, GONE for other ids included. */
bool harness_reply(struct harness *h, uint64_t serial, struct launcher_reply *ret);
/* One request and its reply. */
struct launcher_reply harness_call(struct harness *h, enum launcher_op op, const char *id);
struct launcher_reply harness_create(struct harness *h, const char *id, const char *template_name);
unsigned harness_list(struct harness *h); /* how many run */

/* Sends a line to the agent of id and returns all it answers (static buffer), or NULL. */
const char *harness_ask(struct harness *h, const char *id, const char *line);

/* Pid of the launcher's zygote, or -1. */
pid_t harness_zygote(const struct harness *h);

/* Waits until cond(arg) or ten seconds have gone by. */
bool harness_wait(bool (*cond)(void *arg), void *arg);
/* What this harness's sandboxes have on the host. */
struct harness_remains {
    unsigned directories, sockets, cgroups, mounts, snapshots;
};
/* Where below is, of what is on the sandboxes' disk, which only the launcher has mounted. */
void harness_disk_path(const struct harness *h, const char *below, char *out, size_t size);

struct harness_remains harness_remains(const struct harness *h);
/* Waits until there is nothing. */
bool harness_clean(struct harness *h);
/* Directories of kits (box/ns/kit.h): two for each that is ready. */
unsigned harness_kits(const struct harness *h);
