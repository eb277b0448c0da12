/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a running sandbox: what a launcher needs to find it again after its own death.
 * Text, one "key=value" a line, in a file only root can reach; still parsed as if it were hostile,
 * since a full disk or a crash may have cut it. */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"
#include "box/plan.h"

#define BOX_RECORD_FILE "box"
enum { BOX_RECORD_MAX = 4096, BOX_BOOT_ID_SIZE = 40 };

struct box_record {
    char boot[BOX_BOOT_ID_SIZE]; /* boot id of the host: pids mean nothing after another boot */
    uint32_t pid;                /* init, as the host sees it */
    uint64_t start;              /* its start time, field 22 of /proc/<pid>/stat */
    uint32_t slot;
    char template_name[BOX_TEMPLATE_MAX + 1];
    struct box_limits limits;
    bool allow_internet;
    uint32_t mark; /* see net_host_mark */
    char base[BOX_ID_MAX + 1];    /* the snapshot that it stands on, "": none */
    char rootfs[BOX_ROOTFS_SIZE]; /* which build of its template it stands on, "": not known */
};

int box_record_print(const struct box_record *record, struct buf *out);
/* 0, or -EINVAL: a line is malformed, unknown, missing or double, or a value out of range. A record
 * of an older version lacks base and rootfs. */
int box_record_parse(struct str text, struct box_record *ret);

/* The host's boot id. 0 or -errno. */
int box_record_boot_id(char out[BOX_BOOT_ID_SIZE]);
/* Start time of a process from the text of its stat file. 0 or -EINVAL. */
int box_record_parse_stat(struct str stat, uint64_t *ret_start);
/* Start time of a living process. 0 or -errno. */
int box_record_start_time(pid_t pid, uint64_t *ret_start);
