/* SPDX-License-Identifier: Apache-2.0 */
/* The attack suite as data: one entry a property of the isolation, each with a function that tries
 * to break it and says what happened. `carrel selftest` runs it inside a fresh sandbox.
 *
 * The rule for every function: where the property does not hold, the attempt must do no damage.
 * So a call is made with arguments that the kernel refuses only after it has let the caller in:
 * "not permitted" and "no such call" mean closed, any other answer means that the kernel's code
 * behind the door was reached. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

enum probe_verdict {
    PROBE_HELD,
    PROBE_OPEN,
    PROBE_UNKNOWN, /* went wrong; the evidence says how */
    PROBE_SKIPPED, /* there was nothing to try; the evidence says why */
};

struct probe_report {
    enum probe_verdict verdict;
    char evidence[400];
    char open[400]; /* of probe_tried: the attempts that got through */
};

enum { PROBE_WORDS_MAX = 32 };
struct probe_words {
    const char *word[PROBE_WORDS_MAX];
    size_t count;
};

/* What the caller knows of the outside. NULL, 0 or empty: not told, and what needs it is
 * skipped. */
struct probe_input {
    const char *host_name;        /* of the host */
    const char *host_abstract;    /* abstract AF_UNIX name that somebody outside listens on */
    struct probe_words secrets;   /* words that must not be readable anywhere */
    struct probe_words absent;    /* files of the host */
    struct probe_words closed;    /* ADDRESS:PORT with a listener outside */
    struct probe_words peers;     /* the same, of another sandbox */
    struct probe_words resolvers; /* ADDRESS:PORT of resolvers that are not the named ones */
    struct probe_words spoof;     /* where to send packets with a false source address */
    const char *reachable; /* ADDRESS:PORT that must answer: the proof that `closed` means it */
    uint64_t memory_bytes;
    uint64_t disk_bytes;
    uint32_t pids;
    uint32_t cpu_millis;
};

struct probe;
typedef void probe_fn(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out);

struct probe {
    const char *name;
    const char *row;  /* of the checklist in docs/isolation.md */
    const char *what; /* the property, as a sentence about a sandbox */
    probe_fn *run;
    const void *data; /* the function's own */
};

struct probe_group {
    const char *name;
    const struct probe *probes;
    size_t count;
    unsigned seconds; /* deadline of each */
};

/* main.c: all of them, in the order in which they are run. Those of the group "limits" use up what
 * they can get and so are run only when the group is named. One file each. */
extern const struct probe_group *const probe_groups[];
extern const size_t probe_group_count;
extern const struct probe_group probe_calls;
extern const struct probe_group probe_devices;
extern const struct probe_group probe_files;
extern const struct probe_group probe_ids;
extern const struct probe_group probe_limits;
extern const struct probe_group probe_namespaces;
extern const struct probe_group probe_network;
extern const struct probe_group probe_peers;
extern const struct probe_group probe_proc;
extern const struct probe_group probe_sockets;
extern const struct probe_group probe_useful;

/* ---- report.c: what the functions say ---- */

void probe_say(struct probe_report *out, enum probe_verdict verdict, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* One attempt of several: result < 0 and errno one of EPERM, EACCES, ENOSYS or also[] (0-terminated,
 * NULL for none) is closed, anything else is open. Reports start as held. Returns true if closed. */
bool probe_tried(struct probe_report *out, const char *what, long result, const int *also);
/* The same when the caller has judged already. */
void probe_note(struct probe_report *out, bool closed, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
const char *probe_errno(int os);

/* ---- look.c: reading what is around ---- */

/* Value of a "Key:\tvalue" line of /proc/<pid>/status, without the blanks in front. False if none. */
bool probe_status(const char *pid, const char *key, char *out, size_t size);
/* A whole small file as a string. The length, or -errno. */
ssize_t probe_read(const char *path, char *out, size_t size);
/* The ancestor that is a child of process 1: in a sandbox the agent. */
pid_t probe_agent_pid(void);
/* Runs a program with its output thrown away. Exit status, or -1 when it could not be run or was
 * killed. */
int probe_run(char *const argv[]);
/* Forks, runs fn(arg) in the child, waits. The wait status. */
int probe_in_child(void (*fn)(void *arg), void *arg);

/* ---- network.c and serve.c: who is tried, and who answers ---- */

struct probe_target {
    struct sockaddr_storage address;
    socklen_t length;
};
/* "1.2.3.4:80" or "[::1]:80". */
bool probe_target_parse(const char *text, struct probe_target *ret);
/* Listens on all of them, prints "serving", and serves until killed. Exit status on failure. */
int probe_serve(const struct probe_words *where);
