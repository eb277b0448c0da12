/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a process, shared by process.c (table, life), process_output.c (pipes, readers),
 * process_input.c (what is written to it) and process_recover.c (after the death of an agent). */
#pragma once

#include "base/oom_kills.h"
#include "agent/process.h"
#include "agent/process_record.h"

/* One of our descriptors of a process, watched by the loop. */
struct process_channel {
    struct process *process;
    uv_poll_t poll;
    int fd; /* -1: closed */
    enum spool_kind kind;
    /* Output only: */
    struct process_carry *carry; /* in the record */
    bool draining;               /* read this much more and no further */
    size_t drain;
    bool resting;    /* read by the clock and not watched, see process_pace.c */
    unsigned turns;  /* in a row that brought much at once */
    int64_t turn_at; /* the last one, monotonic ns */
    struct process_channel *next_resting;
};

struct process_queued {
    struct process_queued *next;
    char *bytes;
    size_t len, written;
    process_input_fn *done;
    void *arg;
};

struct process {
    struct process_table *table;
    uint32_t slot; /* in the arena */
    struct process_record *record;
    struct arena_life *life;
    struct process *hash_next;
    struct process *next, *previous; /* in the table's list of live or of finished ones */
    struct process_config config;
    size_t config_size; /* counted in the table */
    pid_t pid;
    int pidfd; /* stays open when it is reaped: it names the process group */
    bool pid_watched;
    bool adopted; /* init's child: init reaps it */
    uv_poll_t pid_poll;
    uv_timer_t deadline;
    uv_timer_t flush;  /* of carried bytes when the process pauses inside a character */
    uv_timer_t hold;   /* how long it waits for readers that do not read */
    uint64_t taken_at; /* loop time when a reader has last taken something, or come */
    unsigned handles;  /* libuv's, not yet closed */

    struct process_channel in, out, err;
    struct process_queued *queue, **queue_tail;
    size_t queue_bytes;
    bool close_in; /* when the queue has been written */

    struct spool spool;
    struct process_reader *readers;

    struct process_launch *launch; /* while it is being started */
    bool pty;
    bool held; /* its pipes are not watched until a reader has taken more, or the time is over */
    bool reaped;
    bool ended;
    bool forgotten; /* out of the table; freed with the last reader and handle */
};

struct process_list {
    struct process *first, *last;
    size_t count;
};

enum { PROCESS_BUCKETS = 1024 };

struct process_table {
    uv_loop_t *loop;
    struct keep *keep;
    struct arena *arena;
    struct process *buckets[PROCESS_BUCKETS]; /* by pid; the newest of a pid comes first */
    struct process_list live, finished;
    struct lanes *lanes; /* where processes are started */
    size_t starting;
    size_t config_bytes; /* of all processes, live, finished and being started */
    size_t input_bytes;  /* queued, of all processes */
    bool busy; /* one has been started already */
    struct oom_kills oom_kills;
    int memory_fd;         /* in use; -1: not known */
    uint64_t memory_bytes; /* the sandbox's limit; 0: none */
    struct spool_pool pool;
    uint64_t order;   /* of the next start */
    uint64_t keep_ms; /* how long a finished one is remembered */
    uint64_t hold_ms;
    uv_timer_t expiry;
    uv_poll_t news; /* of init */
    bool has_news;
    uv_poll_t pace;                          /* of the timer for those that rest */
    int pace_fd;                             /* -1: not made yet */
    struct process_channel *resting, *woken; /* to be read when it is due; being read */
    unsigned handles;
};

/* process.c */
void process_handle_closed(uv_handle_t *handle); /* handle->data is the process */
void process_settle(struct process *p);          /* ends it if all conditions are met */
void process_free_if_unused(struct process *p);
/* Puts it into the table, live or finished, behind those that are there. */
void process_enter(struct process *p);
/* Counts its configuration, and forgets the ends of others if that takes too much. False when it is
 * too much nevertheless; then it is not counted. */
bool process_count_config(struct process *p, const struct process_config *config);
void process_uncount_config(struct process *p);
/* Initializes its handles and watches them; -1 where there is no descriptor. Takes them over. */
void process_open_handles(struct process *p, int pidfd, int in, int out, int err);
/* The lives say that it has been reaped. */
void process_reaped(struct process *p);
void process_arm_deadline(struct process *p);
void process_expiry_start(struct process_table *table);

/* process_output.c */
int process_channel_open(struct process *p, struct process_channel *c, int fd,
                         enum spool_kind kind);
void process_channel_close(struct process_channel *c);
void process_output_watch(struct process *p);
void process_output_drain(struct process_channel *c);
void process_output_flush(struct process *p);
void process_output_flush_soon(struct process *p);
void process_wake_readers(struct process *p);
/* Finishes a read that the death of an agent has cut off. find gives the process of a slot. */
void process_output_recover(struct process_table *table);

/* Reads what is there, for a while, and decides how it goes on. */
void process_channel_turn(struct process_channel *c);

/* process_pace.c */
/* After each turn: whether the process writes so much that it is to be read by the clock. */
bool process_pace_floods(struct process_channel *c, size_t came);
/* Calls process_channel_turn a little later. False when that cannot be. */
bool process_pace_rest(struct process_channel *c);
void process_pace_forget(struct process_channel *c);

/* process_recover.c */
void process_table_recover(struct process_table *table);

/* process_input.c */
void process_input_fail(struct process *p, int status);
