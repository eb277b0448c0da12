/* SPDX-License-Identifier: Apache-2.0 */
/* One sandbox and its life: states, end-of-life timer, what waits for it (protocol.md 2.3).
 *
 *   CREATING → RUNNING ⇄ PAUSING → PAUSED → RESUMING → RUNNING; from each to KILLING, then gone.
 *   A pause keeps the memory (processes are stopped in place), or the files only: then the sandbox is
 *   cold, and resuming it starts it anew.
 *   Those of the pool: CREATING → WAITING → CREATING → RUNNING.
 *
 * A row in the store exists exactly as long as a client may know of the sandbox: it is written
 * before the creation is answered and deleted before the destruction begins. Whatever a crash
 * leaves is thereby either adopted or destroyed at the next start (sandbox_list.h). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "base/err.h"
#include "base/str.h"
#include "launcher/message.h"
#include "server/key.h"
#include "server/route.h"
#include "server/template.h"
#include "server/token.h"

struct network;
struct proxy;
struct sample_ring;
struct agent_call;
struct sandbox;
struct server;
struct shelf;
struct take;

enum sandbox_state {
    SANDBOX_CREATING, /* being made, or given its configuration when it comes out of the pool */
    SANDBOX_WAITING,  /* in the pool: pool.h */
    SANDBOX_RUNNING,
    SANDBOX_PAUSING,
    SANDBOX_PAUSED,
    SANDBOX_RESUMING,
    SANDBOX_KILLING,
};

/* Someone waiting for the present transition to settle. Embedded in the waiter; zeroed at first. The
 * callback comes once, err is NULL on success; the sandbox is valid during the call. */
struct sandbox_wait {
    LIST_ENTRY(sandbox_wait) link;
    struct sandbox *sandbox; /* NULL: not waiting */
    void (*done)(struct sandbox_wait *wait, struct sandbox *sandbox, const struct err *err);
};

struct sandbox {
    LIST_ENTRY(sandbox) hash_link;
    TAILQ_ENTRY(sandbox) link; /* all, in order of appearance */
    struct server *server;

    char id[ROUTE_ID_MAX + 1];
    char project[KEY_NAME_MAX + 1];
    char template_name[TEMPLATE_NAME_MAX + 1]; /* whose files are at the bottom */
    char base[ROUTE_ID_MAX + 1];               /* the snapshot on top of it, "": none */
    char shown[TEMPLATE_NAME_MAX + 1];         /* templateID and alias, as clients see them: those of */
    char alias[TEMPLATE_NAME_MAX + 1];         /* the template or of the snapshot */
    char envd_token[TOKEN_SIZE];    /* "": not secured */
    char traffic_token[TOKEN_SIZE]; /* "": ports are public */
    struct launcher_limits limits;
    bool allow_internet;
    bool auto_pause;
    bool auto_pause_memory; /* what an auto-pause keeps */
    bool auto_resume;
    bool cold;             /* paused, and only files are left */
    int64_t timeout;       /* seconds, as last asked for: what auto-resume gives again */
    json_t *metadata;      /* object or NULL */
    json_t *env_vars;      /* of the creation: object or NULL */
    char *creation_key;    /* who asks with it again gets this sandbox: NULL or Idempotency-Key */
    json_t *network;       /* as given, or NULL: see network.h */
    const char *mask_host; /* maskRequestHost inside network, or NULL */

    enum sandbox_state state;
    int64_t started;      /* wall-clock nanoseconds */
    int64_t life_started; /* creation or last resume */
    int64_t end;          /* of life; of a paused one: when it was paused */
    bool unconfirmed;     /* being adopted: the launcher has not named it yet */
    uv_timer_t timer;     /* end of life; retries of the destruction */
    LIST_HEAD(, sandbox_wait) waits;
    LIST_HEAD(, proxy) proxies; /* exchanges under way to it: proxy.h */
    struct sample_ring *samples;
    uint32_t oom_kills; /* as last read */
    bool kills_known;   /* that holds: it is new, or has been read by us */
    struct shelf *shelf;             /* of the pool whose it is; NULL: it is not the pool's */
    TAILQ_ENTRY(sandbox) shelf_link; /* while WAITING */
    struct agent_call *call;         /* of ours to its agent, under way */
    TAILQ_HEAD(, take) takes;        /* snapshots asked for: the first is under way */
};

/* A sandbox with a fresh id, not known to anybody yet; fill it in, then start or free it. */
struct sandbox *sandbox_new(struct server *server);
void sandbox_free(struct sandbox *sandbox);

/* Puts it into the list and has the launcher make it, with what it may reach and the agent's
 * configuration. When nobody waits for it at the time it is ready, it is destroyed: its client has gone. */
void sandbox_start(struct sandbox *sandbox, const struct network *network, struct str agent_config);

/* Makes one out of the pool what its fields now say, by giving its agent the configuration. From here
 * on it is like one being made. */
void sandbox_claim(struct sandbox *sandbox, struct str agent_config);

void sandbox_wait(struct sandbox *sandbox, struct sandbox_wait *wait,
                  void (*done)(struct sandbox_wait *, struct sandbox *, const struct err *));
/* Stops waiting; harmless when not. */
void sandbox_wait_cancel(struct sandbox_wait *wait);

/* Whether clients see it at all (not while it is made, waits in the pool or is killed). */
bool sandbox_visible(const struct sandbox *sandbox);
/* "running" or "paused", as clients see it. */
const char *sandbox_state_name(const struct sandbox *sandbox);
/* The same for the store, where it is "cold" when only files are left. */
const char *sandbox_stored_state(const struct sandbox *sandbox);

/* Begins the end: streams are cut, the row goes, the launcher destroys. Idempotent. */
void sandbox_kill(struct sandbox *sandbox, const char *reason);
/* From RUNNING only: cuts streams, and freezes or, to keep the files only, ends all processes. */
void sandbox_pause(struct sandbox *sandbox, bool memory, const char *reason);
/* From PAUSED only: thaws, or starts anew one that is cold or whose memory is not wanted; its end is
 * then `timeout` seconds away. */
void sandbox_resume(struct sandbox *sandbox, int64_t timeout, bool memory);
/* Whether traffic may wake it: paused, asked to, and not cold. */
bool sandbox_wakes(const struct sandbox *sandbox);
/* Moves the end of life, bounded by the longest life allowed. */
void sandbox_set_end(struct sandbox *sandbox, int64_t end);
/* Time of end for a timeout in seconds that begins now, bounded in the same way. */
int64_t sandbox_end_after(const struct sandbox *sandbox, int64_t timeout);

/* Frees it while it lives on without us: the server ends. Takes it out of the list. */
void sandbox_forget(struct sandbox *sandbox);

/* Its init has ended by itself, or the launcher does not know it. */
void sandbox_vanished(struct sandbox *sandbox, const char *reason);
/* Puts a sandbox read from the store into the list, unconfirmed until the launcher has named it. */
void sandbox_restore(struct sandbox *sandbox);
/* The launcher has named it. */
void sandbox_adopt(struct sandbox *sandbox, enum launcher_state found);
