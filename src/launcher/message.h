/* SPDX-License-Identifier: Apache-2.0 */
/* What server and launcher say to each other: a small closed set of messages over one SEQPACKET
 * socket, each a fixed struct, size-checked, plus two byte strings at most.
 *
 * The server sends struct launcher_request, followed in the same message by `network_len` and
 * `config_len` bytes.
 * The launcher answers each request with struct launcher_reply carrying the same serial, in any
 * order (creations run side by side), and sends LAUNCHER_GONE on its own when a sandbox ends.
 * All text fields are NUL-terminated and zero-padded; ids match [a-z0-9]{1,31}, template names
 * [a-z0-9._-]{1,63} not starting with a dot. Anything else is refused, since the launcher is root
 * and trusts nobody. */
#pragma once

#include <stdint.h>

enum {
    LAUNCHER_VERSION = 2,
    LAUNCHER_CONFIG_MAX = 128 * 1024,
    LAUNCHER_RANGES_MAX = 256, /* of each kind */
    LAUNCHER_NAMES_MAX = 256,
    LAUNCHER_NAMES_BYTES = 8192,
};

enum launcher_op {
    LAUNCHER_CREATE = 1, /* make a sandbox; the reply comes when its agent.sock accepts */
    LAUNCHER_DESTROY, /* end it and remove all of it; idempotent: unknown id is success. The reply
                            comes when its processes are dead; removal of files may go on */
    LAUNCHER_FREEZE,  /* stop all its processes in place */
    LAUNCHER_THAW,
    LAUNCHER_LIST,    /* one reply per sandbox and snapshot that is there (more = 1, state), then one
                            with more = 0, id "" */
    LAUNCHER_USAGE,   /* cgroup readings */
    LAUNCHER_NETWORK, /* replaces what a running sandbox may reach; network_len 0: everything that
                            is open at all */
    LAUNCHER_GONE,    /* launcher -> server, serial 0: this sandbox's init has ended. With a
                            message: the launcher ended it, and why */
    LAUNCHER_PARK,    /* ends its processes and keeps its files; the reply comes when they are safe on
                            disk. CREATE with `again` starts it from them */
    LAUNCHER_SNAPSHOT, /* makes the snapshot `base` of a running sandbox's files */
    LAUNCHER_DROP,     /* deletes the snapshot `id`; idempotent. Who stands on it keeps it */
};

enum launcher_state {
    LAUNCHER_RUNNING,
    LAUNCHER_FROZEN,
    LAUNCHER_PARKED,
    LAUNCHER_IS_SNAPSHOT,
};

struct launcher_limits {
    uint64_t memory_bytes; /* 0: no limit */
    uint32_t cpu_millis;   /* thousandths of a CPU; 0: no limit */
    uint32_t pids;         /* 0: no limit */
    uint64_t disk_bytes;   /* 0: no limit */
};

struct launcher_request {
    uint32_t version; /* LAUNCHER_VERSION */
    uint32_t op;      /* enum launcher_op */
    uint64_t serial;  /* > 0, chosen by the server */
    char id[32];
    char base[32];                 /* CREATE: the snapshot it begins as, "": none. SNAPSHOT */
    char template_name[64];        /* CREATE: directory below --templates */
    struct launcher_limits limits; /* CREATE */
    uint32_t allow_internet;       /* CREATE: 0 = no route out at all */
    uint32_t config_len;           /* CREATE: agent's first configuration (JSON, opaque here) */
    uint32_t network_len; /* CREATE, NETWORK: struct launcher_network and what follows it */
    uint32_t again;       /* CREATE: of a parked one. Template and base are those that it had */
};

/* What a sandbox may reach (box/network.h). Followed by the ranges allowed, the ranges denied, and
 * names_len bytes of names, each with a NUL behind it. Names need a denied range of length 0. */
struct launcher_network {
    uint32_t allow_count, deny_count; /* LAUNCHER_RANGES_MAX at most */
    uint32_t names_len;               /* LAUNCHER_NAMES_BYTES at most */
};
struct launcher_range {
    uint32_t address; /* in host byte order; no bits beyond the prefix */
    uint32_t prefix;  /* 0..32 */
};
enum {
    LAUNCHER_NETWORK_MAX = sizeof(struct launcher_network) +
                           2 * LAUNCHER_RANGES_MAX * sizeof(struct launcher_range) +
                           LAUNCHER_NAMES_BYTES
};

struct launcher_usage {
    uint64_t cpu_ns;       /* total since creation */
    uint64_t memory_bytes; /* in use, page cache included */
    uint64_t cache_bytes;
    uint64_t disk_bytes; /* written to the sandbox's own layer, file system granularity */
    uint32_t pids;
    uint32_t oom_kills;
};

struct launcher_reply {
    uint32_t version;
    uint32_t op; /* of the request, or LAUNCHER_GONE */
    uint64_t serial;
    char id[32];
    uint32_t code;               /* enum err_code; ERR_OK = 0 */
    int32_t os;                  /* errno behind it or 0 */
    char message[248];           /* which step failed, on what */
    int32_t pid;                 /* CREATE, LIST: init as the host sees it */
    uint32_t more;               /* LIST */
    uint32_t state;              /* LIST: enum launcher_state */
    char template_name[64];      /* LIST: of sandboxes */
    struct launcher_usage usage; /* USAGE */
};
