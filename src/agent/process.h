/* SPDX-License-Identifier: Apache-2.0 */
/* The processes that were started through the agent: their life from start to 30 seconds after the
 * end, their input, and their output on its way to any number of readers.
 *
 * Output. What a process writes goes into its spool (agent/spool.h) at once. Readers are attached by the owner, each with its own cursor, and woken when there is more. Who
 * attaches begins where the furthest reader had come to, so each byte is delivered once, however many
 * came and went; and what a reader that has got stuck did not take goes to the next. Or he says where
 * to begin. The spool keeps what some reader still needs up to its bound, then the oldest goes, counted
 * in the cursors of those who miss it. Only when the furthest reader itself would miss something, and
 * has taken something lately, is the process made to wait for it (docs/decisions/output.md).
 *
 * The agent may die. All of this is written down in the arena (agent/arena.h) before anybody hears of
 * it, init holds a copy of every descriptor (agent/keep.h), and process_table_new goes on from there.
 *
 * The end comes when the process is reaped and its pipes have been read to their end; after a
 * signal sent through process_signal, or the deadline, the pipes are read for what is in them and
 * no longer waited for (a background child may hold them open for ever). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/process_message.h"
#include "agent/spool.h"
#include "base/err.h"
#include "base/passwd.h"

enum {
    PROCESS_LIVE_MAX = 16384,
    PROCESS_FINISHED_MAX = 4096,
    PROCESS_FINISHED_S = 30,
    PROCESS_HOLD_S = 10,
    PROCESS_INPUT_MAX = 16 << 20,     /* queued bytes of one process, */
    PROCESS_INPUTS_MAX = 64 << 20,    /* and of all */
    PROCESS_CONFIGS_MAX = 32 << 20,   /* arguments and variables of all that are remembered */
};

struct keep;
struct process_table;
struct process;

/* keep: of init's, or of this agent's own; borrowed. Finds the processes of the agent before.
 * spool_dir: as in struct agent_start. NULL when the arena cannot be used. */
/* memory_fd, oom_fd: of the control group, see agent/agent.h; -1 for none. They stay the caller's. */
struct process_table *process_table_new(uv_loop_t *loop, struct keep *keep, const char *spool_dir,
                                        int memory_fd, int oom_fd);
/* Takes the limits of a configuration over. */
void process_table_configure(struct process_table *table, const struct agent_config *config);
/* Forgets all, leaves the processes running. NULL is fine. No callbacks to readers any more. The
 * loop must run once more for the memory to go. */
void process_table_free(struct process_table *table);

/* Told once of each start: p, or NULL and err. Maybe from inside the call. */
typedef void process_started_fn(struct process *p, const struct err *err, void *arg);
/* Starts it, which may take a while when the sandbox is at its limits. request is emptied; envs (see
 * agent/env.h) and cwd are taken over; user is used during the call only. */
void process_start(struct process_table *table, struct process_start_request *request,
                   const struct passwd_user *user, char **envs, char *cwd,
                   process_started_fn *started, void *arg);
/* Kills it (SIGKILL) when it still runs after so long. */
void process_set_deadline(struct process *p, int64_t ns);

/* The process, or ERR_NOT_FOUND. Finished ones only if asked for. */
int process_find(struct process_table *table, const struct process_selector *selector,
                 bool finished_too, struct process **ret, struct err *err);
/* Calls back for each one that runs, oldest first. */
void process_each(struct process_table *table, void (*fn)(const struct process *p, void *arg),
                  void *arg);

pid_t process_pid(const struct process *p);
const struct process_config *process_config_of(const struct process *p);

/* group: to all in its process group, and as long as any of them is left. */
int process_signal(struct process *p, int signal_number, bool group, struct err *err);
int process_resize(struct process *p, uint16_t cols, uint16_t rows, struct err *err);

/* ---- input ---- */

/* Status 0 when all of it has been written, else negative errno (the process has closed its input or
 * ended). Called once, maybe from inside the call. */
typedef void process_input_fn(int status, void *arg);
/* Writes after all that was queued before. bytes is taken over in any case. ERR_INTERNAL when there
 * is no such input, ERR_EXHAUSTED when too much is queued; then done is not called. */
int process_input(struct process *p, struct process_input_bytes *input, process_input_fn *done,
                  void *arg, struct err *err);
/* Closes standard input behind what is queued. Closing twice is fine; a terminal is ERR_UNKNOWN. */
int process_close_input(struct process *p, struct err *err);

/* ---- readers ---- */

struct process_reader {
    struct spool_cursor cursor; /* advanced by the owner through spool_read and spool_advance */
    uint64_t taken;             /* what has left us for certain; the owner's to advance */
    void (*wake)(struct process_reader *reader); /* more to read, or the end */
    struct process *process;
    struct process_reader *next, *previous;
};

/* The reader is embedded in its owner and stays attached until process_detach; the process stays as
 * long as anybody is attached. It begins where the furthest had come to. */
void process_attach(struct process *p, struct process_reader *reader);
/* It begins at an offset instead, and all output is kept for others who do this, up to the bound.
 * ERR_RANGE when there is no such offset yet. */
int process_attach_at(struct process *p, struct process_reader *reader, uint64_t offset,
                      struct err *err);
void process_detach(struct process_reader *reader);
/* Keeps output that has been delivered, too. */
void process_keep_output(struct process *p);
const struct spool *process_spool(const struct process *p);
/* To be called when `taken` has been advanced: lets the spool forget. */
void process_consumed(struct process_reader *reader);

struct process_end {
    int exit_code;   /* -1 when killed by a signal */
    bool exited;     /* ended by itself */
    char status[64]; /* "exit status 1", "signal: killed" */
    char error[128]; /* the same, or what is known beyond that; "" when it ended well */
};

/* True once it has ended and all of its output is in the spool. */
bool process_ended(const struct process *p, struct process_end *ret);
/* The deadline has struck. */
bool process_timed_out(const struct process *p);
