/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox will be, as data: every path, id, limit, mount and option, computed before the
 * first system call and printable. Executing it decides nothing any more.
 *
 * struct box_inside is the part that is carried out inside, by the zygote's child; it goes over a
 * socket as it is, so it holds no pointers, and names nothing of the host but ids. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    BOX_ID_MAX = 31,
    BOX_TEMPLATE_MAX = 63,
    BOX_PATH_MAX = 512,
    BOX_INSTANCES = 8, /* servers side by side on one host */
    BOX_SLOTS = 2048,  /* sandboxes of one instance at a time */
    BOX_UIDS = 65536,  /* user and group ids of one sandbox */
    BOX_UID_FIRST = 0x20000000,
    BOX_MOUNTS_MAX = 36,
    BOX_CGROUPS_MAX = 6, /* cgroup hierarchies that one sandbox is in */
    BOX_JOINS = 3,       /* of them, those with limits: memory, cpu, pids */
    BOX_TASKS = 2,       /* and those without: freezer, cpuacct */
    BOX_CONFIG_MAX = 128 * 1024,
    BOX_LAYERS_MAX = 8,   /* snapshots that a sandbox stands on */
    BOX_ROOTFS_SIZE = 64, /* text that tells one build of a template from the next */
};

struct box_limits {
    uint64_t memory_bytes; /* 0: no limit, here and below */
    uint32_t cpu_millis;   /* thousandths of a CPU */
    uint32_t pids;
    uint64_t disk_bytes;
};

/* Descriptors that a sandbox is made with. They travel in this order, those that exist. */
enum box_handle {
    /* Kept by init and agent: */
    BOX_HANDLE_LISTEN, /* listening socket */
    BOX_HANDLE_MEMORY, /* cgroup's memory in use */
    BOX_HANDLE_CPU,    /* cgroup's cpu time */
    BOX_HANDLE_OOM,    /* cgroup's count of out-of-memory kills */
    BOX_HANDLE_PIDS,   /* cgroup's count of processes */
    BOX_HANDLE_LEAVE,  /* v2: how init and agent get out of the sandbox's group */
    BOX_HANDLE_JOIN,   /* how a user's process gets into it, BOX_HANDLE_JOIN + 0..2 */
    BOX_HANDLE_RESCUE = BOX_HANDLE_JOIN + BOX_JOINS, /* the same for one that finds it full */
    /* Closed on the way: */
    BOX_HANDLE_STATUS = BOX_HANDLE_RESCUE + BOX_JOINS, /* pipe: struct box_status */
    BOX_HANDLE_USERNS,                                 /* user namespace of the slot */
    BOX_HANDLE_NETNS,                                  /* network namespace */
    BOX_HANDLE_TEMPLATE, /* detached mount, ids mapped: the template's rootfs */
    BOX_HANDLE_LAYER,    /* the same of the host layer */
    BOX_HANDLE_BASE,     /* the same of snapshots, BOX_HANDLE_BASE + 0..7, the lowest first */
    BOX_HANDLE_STATE = BOX_HANDLE_BASE + BOX_LAYERS_MAX, /* the same of the sandbox's own files
                                                            (upper, work) */
    BOX_HANDLE_CGROUP,   /* v2: directory to be born in */
    BOX_HANDLE_TASKS,    /* v1: `tasks` files that init joins, BOX_HANDLE_TASKS + 0..1 */
    BOX_HANDLES = BOX_HANDLE_TASKS + BOX_TASKS,
};

enum box_mount_kind {
    BOX_MOUNT_ATTACH = 1, /* attach the detached mount `handle` at the target */
    BOX_MOUNT_NEW,        /* a new file system of `type` with `options` */
    BOX_MOUNT_BIND,       /* `source` once more at the target, with `flags` */
    BOX_MOUNT_FILE,       /* a file with the line `options`, made at `source`, which it leaves again:
                             only the target shows it, with `flags` */
};

/* Paths are as the zygote sees them; the sandbox's root-to-be is BOX_ROOT. */
#define BOX_ROOT "/root"
/* MS_* of the zygote's own root, and so of what is bound from there. */
#define BOX_ZYGOTE_FLAGS (MS_RDONLY | MS_NOSUID | MS_NOEXEC)

struct box_mount {
    uint32_t kind;   /* enum box_mount_kind */
    uint32_t handle; /* ATTACH: enum box_handle */
    uint64_t flags;  /* MS_* */
    char type[16];
    char source[48];
    char target[48];
    char options[256];
};

struct box_inside {
    uint32_t version; /* BOX_INSIDE_VERSION */
    uint32_t handles; /* bit for each enum box_handle that comes along */
    uint64_t serial;  /* repeated in the answer */
    char hostname[64];
    uint32_t uid_base;
    uint32_t nofile_soft;
    uint32_t nofile_hard;
    int32_t oom_adj;       /* of init and agent, -17..15 as in /proc/self/oom_adj */
    uint64_t capabilities; /* bounding set */
    uint32_t mount_count;
    uint32_t config_len; /* bytes that follow in the same message */
    char fail_step[32];  /* for tests: fail after this step */
    struct box_mount mounts[BOX_MOUNTS_MAX];
};
enum { BOX_INSIDE_VERSION = 3 };
/* Where init of a sandbox keeps, for the launcher, its end of a socket pair, and the program that
 * its agent is (agent/handover.h). */
enum { BOX_CONTROL_FD = 60, BOX_PROGRAM_FD = 61 };

/* The zygote's answer to a request, with the pidfd when os is 0. */
struct box_born {
    uint64_t serial;
    int32_t pid; /* in the pid namespace of the zygote, which is the host's */
    int32_t os;
};

/* What the child says once: os 0 when all is in place, otherwise the step that failed. */
struct box_status {
    int32_t os;
    char step[60];
};

/* The snapshots that a sandbox stands on (ns/layers.h), the uppermost first. */
struct box_chain {
    char ids[BOX_LAYERS_MAX][BOX_ID_MAX + 1];
    size_t count;
    bool whole;                               /* nothing is below the last */
    char template_name[BOX_TEMPLATE_MAX + 1]; /* of the last, as is the build of it */
    char rootfs[BOX_ROOTFS_SIZE];
};

/* What is asked for. All strings are borrowed. */
struct box_spec {
    const char *id;
    const char *template_name;
    struct box_limits limits;
    bool allow_internet;               /* false: no link to the outside is made at all */
    const struct box_network *network; /* box/network.h; NULL restricts nothing */
    const char *base;                  /* the snapshot it begins as; NULL: its template */
    bool again;                        /* one that is parked starts from its own files: template and
                                          base are those that it had */
};

struct box_plan {
    char id[BOX_ID_MAX + 1];
    char template_name[BOX_TEMPLATE_MAX + 1];
    unsigned instance;
    unsigned slot;
    struct box_limits limits;
    bool allow_internet;
    bool again;
    struct box_chain chain;          /* empty until the host fills it in: box_plan_stack */
    char template_dir[BOX_PATH_MAX]; /* lower layer */
    char layer_dir[BOX_PATH_MAX];    /* host layer, above the template */
    char sandbox_dir[BOX_PATH_MAX];  /* holds the record */
    char files_dir[BOX_PATH_MAX];    /* holds upper and work: what it writes, within its limit */
    char disk[48];                   /* what binds its disk limit; "": nothing does */
    char run_dir[BOX_PATH_MAX];      /* holds the socket */
    char cgroup[BOX_ID_MAX + 64];    /* below the root of each hierarchy: "carrel-0/<id>" */
    struct box_inside inside;
};

/* Where things are on this host; borrowed. */
struct box_layout {
    const char *state_dir;
    const char *disk_name; /* what binds disk limits; "": nothing does */
    const char *run_dir;
    const char *templates_dir;
    const char *cgroup_parent; /* "carrel" */
    unsigned instance;
    const char *const *proc_masks; /* names below /proc that must not be seen; NULL-terminated */
    uint32_t nofile_max;           /* most that a process of ours may allow itself */
};

/* Ids are [a-z0-9]{1,31}, templates [a-z0-9._-]{1,63} without a leading dot. */
bool box_id_valid(const char *id);
bool box_template_valid(const char *name);

/* First host uid (and gid) of a slot. instance < BOX_INSTANCES, slot < BOX_SLOTS. */
uint32_t box_uid_base(unsigned instance, unsigned slot);

/* Computes the plan; touches nothing. 0, or negative with err: a name or limit that is no good. */
int box_plan_make(const struct box_layout *layout, const struct box_spec *spec, unsigned slot,
                  struct box_plan *ret, struct err *err);
/* Puts the plan on a chain of snapshots. */
void box_plan_stack(const struct box_layout *layout, struct box_plan *plan,
                    const struct box_chain *chain);
/* The same plan for another slot: what a sandbox is made of may be there only after it was planned. */
void box_plan_move(const struct box_layout *layout, struct box_plan *plan, unsigned slot);
/* Gives it a boot id of its own: each start has another. */
void box_plan_boot(struct box_plan *plan);
/* The plan as text for people, one "key value" a line. 0 or -ENOBUFS. */
int box_plan_print(const struct box_plan *plan, struct buf *out);
/* The same as one JSON object. */
int box_plan_print_json(const struct box_plan *plan, struct buf *out);

/* Candidates among the files of /proc that exist here and that others than root may use: all the
 * rest is closed by their owner alone, since host root is nobody inside. NULL-terminated, static. */
const char *const *box_proc_masks(void);
