/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the namespaces backend share about the host and its sandboxes. */
#pragma once

#include <stdatomic.h>

#include "box/box.h"
#include "box/network.h"
#include "box/ns/cgroup.h"
#include "box/ns/disk.h"
#include "box/ns/kit.h"
#include "box/ns/layers.h"
#include "box/ns/net.h"
#include "box/ns/uidslot.h"
#include "box/ns/zygote.h"
#include "box/record.h"
#include "box/worker.h"

enum box_state {
    BOX_STARTING, /* asked for; waiting for the child's status */
    BOX_RUNNING,
    BOX_ENDING,   /* killed or failed; waiting for its death */
    BOX_REMOVING, /* dead; its files and groups are being removed */
    BOX_PARKING,  /* dead; its groups are being removed, its files stay */
    BOX_PARKED,   /* nothing but files */
};

/* One thing to poll for. */
enum watch_kind {
    WATCH_ZYGOTE,
    WATCH_WORKER,
    WATCH_MAKER,
    WATCH_COPIER,
    WATCH_RECLAIMER,
    WATCH_PATIENCE,
    WATCH_GUARD,
    WATCH_STATUS,
    WATCH_PID
};
struct watch {
    enum watch_kind kind;
    struct box *box;
};

enum { BOX_NO_SLOT = BOX_SLOTS };

struct box {
    struct box *next, **link; /* in host->boxes */
    char id[BOX_ID_MAX + 1];
    enum box_state state;
    unsigned slot;               /* BOX_NO_SLOT: none */
    struct making *making;       /* while it waits for a kit */
    struct box_record record;    /* what goes to disk */
    struct box_network *network; /* what it may reach; NULL: no restrictions */
    struct in_addr address;      /* of its link, also when its slot has been given back */
    uint64_t serial;             /* of the question to the zygote */
    pid_t pid;                   /* 0 until the zygote has answered */
    int pidfd;
    int status_fd; /* until the child has spoken */
    int dir_fd;    /* directory with its record, while it is being made */
    bool ready;    /* child said so */
    bool ran;      /* was BOX_RUNNING at some time */
    bool asked;    /* box_destroy was called */
    bool frozen;
    bool parking;             /* its files stay when it ends: park.c */
    struct copying *copying;  /* a snapshot under way, which has stopped it: snapshot.c */
    struct reclaim *reclaim;  /* its memory is being pushed out: reclaim.c */
    bool measuring;
    uint64_t disk_bytes;
    int64_t measured_ns;
    struct err failure; /* why it could not be made */
    char reason[120];   /* why we ended it; "": we did not */
    void *owner;
    struct watch status_watch, pid_watch;
};

/* A template whose host layer is up to date. */
struct layer {
    struct layer *next;
    char name[BOX_TEMPLATE_MAX + 1];
    dev_t dev; /* of its rootfs */
    ino_t ino;
};

struct box_host {
    struct box_host_options options;
    struct box_events events;
    struct box_layout layout;
    char boot[BOX_BOOT_ID_SIZE];
    int epoll_fd;
    int sandboxes_fd, ready_fd;                     /* below the state directory: records */
    int trash_fd;                                   /* there, too: snapshots on their way out */
    int files_fd, files_ready_fd, files_trash_fd;   /* below the disk's: what sandboxes write */
    int layers_fd, run_fd, run_ready_fd, templates_fd;
    int image_fd, filter_fd;
    struct disk *disk;
    int guard_fd;    /* timer of disk_guard.c */
    unsigned guard_alone; /* how often it found no sandbox */
    bool disk_tight; /* there is no room for more sandboxes */
    bool trimming;
    int64_t trimmed_ns; /* 0: never */
    struct cgroup_host *cgroups;
    struct net_host *net;
    struct uidslots *slots;
    struct worker *worker; /* removes */
    struct worker *maker;  /* of kits */
    struct worker *copier; /* of snapshots */
    struct worker *reclaimer; /* NULL: not needed yet */
    struct layers snapshots;
    LIST_HEAD(, copying) copies; /* under way */
    struct kit *kits;      /* ready */
    struct kit *coming;    /* being made for nobody in particular, the first one first */
    size_t kits_ready, kits_coming, kits_awaited;
    uint64_t last_kit;
    struct box_limits usual; /* those of the last creation: kits are made for them */
    int patience_fd;         /* timer: when to make more */
    atomic_bool closing;
    struct zygote zygote;
    struct watch zygote_watch, worker_watch, maker_watch, patience_watch, copier_watch,
        reclaimer_watch, guard_watch;
    struct layer *layers;
    struct box *boxes;
    uint64_t last_serial;
    size_t starting, removing;
};

/* host.c */
struct box *host_new_box(struct box_host *host, const char *id, unsigned slot);
void host_free_box(struct box_host *host, struct box *box);
int host_watch(struct box_host *host, int fd, struct watch *watch, struct err *err);
/* Ends the watch and closes the descriptor; fine for -1. */
void host_unwatch(struct box_host *host, int *fd);
/* Processes are dead, or there never were any: gives slot and network back, removes the rest in
 * the background. The box is freed when that is done. */
void host_retire(struct box_host *host, struct box *box);
/* The same for an id that there is no box for. */
void host_remove_remains(struct box_host *host, const char *id);
/* A sandbox that has ended or could not be made: retires it and says so. */
void host_box_over(struct box_host *host, struct box *box);
/* The zygote that creations ask, started anew if it has ended. */
int host_need_zygote(struct box_host *host, struct err *err);

/* For tests: whether this step is to fail. */
bool host_fails(const struct box_host *host, const char *who, const char *step);

/* create.c: the creation goes on with the kit, which is its own from here on, or ends because of
 * what is in kit->err. */
void making_continue(struct making *making, struct kit *kit);

/* box.c: stops or continues its processes, and says nothing about it. */
int host_stop_box(struct box_host *host, struct box *box, bool stop, struct err *err);

/* park.c */
/* Whether the sandbox of that id was being parked, or is. */
bool park_marked(const struct box_host *host, const char *id);
/* It runs again: its files are its own. */
void park_unmark(struct box_host *host, const char *id);
/* Its processes are ended, its files stay. */
void park_begin(struct box_host *host, struct box *box);
/* What ended it has been removed. */
void park_done(struct box_host *host, struct box *box, const struct err *err);

/* snapshot.c */
int snapshots_open(struct box_host *host, struct err *err);
void snapshots_close(struct box_host *host);
/* Removes the doomed that nobody stands on any more. */
void snapshots_sweep(struct box_host *host);
/* The sandbox goes: what copies it must not touch it any more. */
void snapshot_forget(struct box *box);
/* Found at start: whoever copied it is dead, and it must go on. */
void snapshot_adopt(struct box_host *host, struct box *box);

/* reclaim.c: pushes the memory of a frozen sandbox out, where there is swap to take it. */
void reclaim_begin(struct box_host *host, struct box *box);
void reclaim_end(struct box *box);
void reclaim_close(struct box_host *host);

/* adopt.c: at start. */
int adopt_all(struct box_host *host, struct err *err);
/* Commits a sandbox that is ready: from here on another launcher would adopt it. */
int adopt_record_prepare(struct box_host *host, struct box *box, struct err *err);
int adopt_record_commit(struct box *box, struct err *err);

/* box.c */
/* Kills it, whatever it is doing. */
void box_end(struct box_host *host, struct box *box);
/* Brings box->disk_bytes up to date, now or soon. */
void box_measure(struct box_host *host, struct box *box);

/* disk_guard.c */
int guard_open(struct box_host *host, struct err *err);
void guard_step(struct box_host *host);
/* A box was put into the list. */
void guard_wake(struct box_host *host);
/* Whether there is room for one more sandbox. 0 or negative with err. */
int guard_admit(struct box_host *host, struct err *err);

/* network.c: the policy of a sandbox that is being made, and of one that was found. */
int network_begin(struct box_host *host, struct box *box, const struct box_network *network,
                  struct err *err);
void network_adopt(struct box_host *host, struct box *box);

/* mounts.c: detached, id-mapped mounts. */
int mounts_template(struct box_host *host, const struct box_plan *plan, int userns, int *ret_lower,
                    int *ret_layer, struct err *err);
/* Those of the plan's snapshots, the lowest first. */
int mounts_chain(struct box_host *host, const struct box_plan *plan, int userns,
                 int ret[BOX_LAYERS_MAX], struct err *err);
/* Which build of a template it is. */
int mounts_rootfs(struct box_host *host, const char *template_name, char ret[BOX_ROOTFS_SIZE],
                  struct err *err);
int mounts_files(int files_dir, int userns, int *ret, struct err *err);
