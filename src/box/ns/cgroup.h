/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups of sandboxes, on cgroup v2, v1 and hosts that have both.
 *
 * Each sandbox has one group of its id, below a parent group of ours at the root of every
 * hierarchy that carries a controller we need. Its limits bind the users' processes in it. The
 * zygote, and so every init and agent that comes from it, is in CGROUP_AGENTS beside them: a
 * sandbox that has used up its memory, processes or CPU time still has an agent that answers, that
 * can start a command and kill another. Such a command would fare no better than the rest of the
 * sandbox, so it is put into CGROUP_RESCUE instead, which is small and for all sandboxes together.
 * Only where no limit is (v1's freezer and cpuacct) are init
 * and agent in the sandbox's group.
 *
 * Nothing else of the host's groups is touched. On v1 processes enter by `tasks`; writing to
 * cgroup.procs waits for an RCU grace period (7-20 ms), so on v2 processes are born in the group,
 * and init and agent leave it later. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "box/plan.h"

enum cgroup_controller {
    CGROUP_MEMORY = 1,
    CGROUP_CPU = 2,     /* limit */
    CGROUP_CPUACCT = 4, /* time used */
    CGROUP_PIDS = 8,
    CGROUP_FREEZER = 16,
    CGROUP_ALL = 31,
};

struct cgroup_hierarchy {
    char mount[256];
    bool v2;
    unsigned controllers; /* enum cgroup_controller, those that we use here */
};

struct cgroup_layout {
    struct cgroup_hierarchy hierarchies[BOX_CGROUPS_MAX];
    size_t count;
};

/* Chooses hierarchies from the text of /proc/self/mountinfo; v2_controllers is what the v2 tree
 * offers (cgroup.controllers at its root, "" if there is none). Each controller is used in one
 * hierarchy; v1 has it if it is mounted there, since the kernel then withholds it from v2. */
void cgroup_layout_parse(struct str mountinfo, struct str v2_controllers,
                         struct cgroup_layout *ret);

struct cgroup_host;
/* Reads this host's layout and makes the parent group. */
int cgroup_host_open(const char *parent, struct cgroup_host **ret, struct err *err);
/* Frees the handle, NULL is fine; `remove` also removes the parent groups if they are empty. */
void cgroup_host_close(struct cgroup_host *host, bool remove);
const struct cgroup_layout *cgroup_host_layout(const struct cgroup_host *host);

/* Beside the sandboxes' groups; no valid ids. */
#define CGROUP_AGENTS "_agents"
#define CGROUP_RESCUE "_rescue"

/* Descriptors to write "0" into, by which a process moves into CGROUP_AGENTS in all hierarchies.
 * The zygote's cgroup namespace begins there, so that a sandbox sees the path of no group of the
 * host's. Returns how many; owned by the caller. */
size_t cgroup_open_agents(const struct cgroup_host *host, int fds[BOX_CGROUPS_MAX]);
/* Ends every process in CGROUP_AGENTS whose pid namespace spare() does not know: inits whose
 * launcher died before it had written them down. Returns how many. */
unsigned cgroup_kill_strays(const struct cgroup_host *host,
                            bool (*spare)(void *arg, uint64_t pid_namespace), void *arg);

/* Descriptors for a new sandbox, -1 for those there are not; owned by the caller. */
struct cgroup_fds {
    int directory;         /* v2: for init to be born in */
    int leave;             /* v2: CGROUP_AGENTS, for init and agent to go to */
    int tasks[BOX_TASKS];  /* v1: for init to join */
    int join[BOX_JOINS];   /* for users' processes to join */
    int rescue[BOX_JOINS]; /* for those that would find no room there */
    int memory;            /* memory in use, read-only */
    int cpu;               /* cpu time used, read-only */
    int oom;               /* out-of-memory kills, read-only */
    int pids;              /* processes, read-only */
};

/* No descriptors. */
void cgroup_fds_init(struct cgroup_fds *fds);
void cgroup_fds_done(struct cgroup_fds *fds);

/* Making the groups of a sandbox takes two steps, the first and longer of which does not need to
 * know its id: groups of another name (CGROUP_KIT and more) with the limits, on v1. The second gives
 * them the id, and makes those on v2, where groups cannot be renamed. A limit whose controller this
 * host does not have is an error. On failure what was made stays, under one name or the other, for
 * cgroup_remove. */
#define CGROUP_KIT "_kit"
int cgroup_prepare(const struct cgroup_host *host, const char *name,
                   const struct box_limits *limits, struct cgroup_fds *fds, struct err *err);
int cgroup_place(const struct cgroup_host *host, const char *name, const char *id,
                 const struct box_limits *limits, struct cgroup_fds *fds, struct err *err);
/* Removes the groups of all kits. */
void cgroup_remove_kits(const struct cgroup_host *host);

/* Whether freezing the group stops the agent too; else it must be told (agent/agent.h). */
bool cgroup_freezes_agent(const struct cgroup_host *host);
/* Stops or continues all processes of the group and waits until that is so. -ENOENT if there is
 * no such group, -ETIMEDOUT (and thawed again) when a process could not be stopped. */
int cgroup_freeze(const struct cgroup_host *host, const char *id, bool freeze);
bool cgroup_frozen(const struct cgroup_host *host, const char *id);

/* Pushes the group's memory out of the host's, as far as it goes or until *stop. May take long. */
void cgroup_reclaim(const struct cgroup_host *host, const char *id, const atomic_bool *stop);

struct cgroup_usage {
    uint64_t cpu_ns;
    uint64_t memory_bytes;
    uint64_t cache_bytes;
    uint32_t pids;
    uint32_t oom_kills;
};
/* 0, or -ENOENT if there is no such group; what cannot be read stays 0. */
int cgroup_read_usage(const struct cgroup_host *host, const char *id, struct cgroup_usage *ret);

/* Sends SIGKILL to whatever is in the group. Returns how many processes were found, or -errno. */
int cgroup_kill(const struct cgroup_host *host, const char *id);
/* Removes the group everywhere; what is not there is no error. 0, or -EBUSY while processes are
 * still in it, or -errno. */
int cgroup_remove(const struct cgroup_host *host, const char *id);
/* Calls each for every group below the parent, once per hierarchy it is in. */
void cgroup_each(const struct cgroup_host *host, void (*each)(void *arg, const char *id),
                 void *arg);
